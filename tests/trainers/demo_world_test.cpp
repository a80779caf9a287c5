#include "trainers/demo_world.h"
#include <gtest/gtest.h>
TEST(DemoWorld, Sample) { altup::write_demo_world({}, "/tmp/demo_world"); }
