#include "altup/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "altup/util/error.h"
#include "altup/util/text.h"

namespace altup {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::string_view kMetadata = "__metadata__";  // the header's key that names no tensor
constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxHeaderBytes = 100'000'000;  // as Python's reader

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kDtypes = {
    {{"F64", at::kDouble},
     {"F32", at::kFloat},
     {"F16", at::kHalf},
     {"BF16", at::kBFloat16},
     {"I64", at::kLong},
     {"I32", at::kInt},
     {"I16", at::kShort},
     {"I8", at::kChar},
     {"U8", at::kByte},
     {"BOOL", at::kBool}}};

// --- Writing
// ---------------------------------------------------------------------------------------------------

std::string_view dtype_name(at::ScalarType type, const std::string& tensor) {
  for (const auto& [name, known] : kDtypes) {
    if (known == type) return name;
  }
  TORCH_CHECK(false, "tensor ", tensor, " is ", type, ", which safetensors cannot hold");
}

/// The JSON header, padded with spaces so that the data starts at a multiple of 8 bytes.
std::string make_header(const NamedTensors& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(name != kMetadata, "a tensor cannot be called ", kMetadata);
    TORCH_CHECK(!header.contains(name), "tensor ", name, " is listed twice");
    TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided, "tensor ", name,
                " is not a strided tensor");
    const size_t end = offset + tensor.nbytes();
    Json entry;
    entry["dtype"] = dtype_name(tensor.scalar_type(), name);
    entry["shape"] = tensor.sizes().vec();
    entry["data_offsets"] = {offset, end};
    header[name] = std::move(entry);
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

void write_bytes(std::ofstream& out, const void* bytes, size_t count) {
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
}

// --- Reading
// ---------------------------------------------------------------------------------------------------

/// A whole file in private pages. Tensors that view it share its ownership.
class Mapping {
 public:
  explicit Mapping(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
      const int reason = fd < 0 ? errno : 0;
      if (fd >= 0) ::close(fd);
      throw UserError(path.string(), str("cannot be read", reason != 0 ? ": " : "",
                                         reason != 0 ? std::strerror(reason) : "",
                                         "; expected a safetensors file"));
    }
    size_ = static_cast<size_t>(status.st_size);
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    const int reason = errno;
    ::close(fd);
    if (data_ == MAP_FAILED) {
      throw std::runtime_error(str(path.string(), ": cannot be mapped: ", std::strerror(reason)));
    }
  }
  ~Mapping() {
    if (data_ != nullptr && data_ != MAP_FAILED) ::munmap(data_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

struct Entry {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  size_t begin;
  size_t end;
};

/// Reads and checks one file; every error names it.
class Reader {
 public:
  explicit Reader(const fs::path& path)
      : path_(path.string()), mapping_(std::make_shared<Mapping>(path)) {}

  NamedTensors read(std::map<std::string, std::string>* metadata) {
    const Json header = parse_header();
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        read_metadata(value, metadata);
      } else {
        entries.push_back(parse_entry(name, value));
      }
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    check_layout(entries);
    NamedTensors tensors;
    for (const Entry& entry : entries) tensors.emplace_back(entry.name, view(entry));
    return tensors;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw UserError(path_, what); }

  Json parse_header() {
    uint64_t length = 0;
    if (mapping_->size() < kLengthBytes) {
      refuse(str("has ", mapping_->size(), " bytes; expected a safetensors file"));
    }
    std::memcpy(&length, mapping_->data(), kLengthBytes);
    if (length > std::min(kMaxHeaderBytes, mapping_->size() - kLengthBytes)) {
      refuse(str("has ", mapping_->size(), " bytes but names a header of ", length,
                 "; expected a whole safetensors file"));
    }
    data_begin_ = kLengthBytes + length;

    std::set<std::string> names;
    const auto refuse_repeats = [&](int depth, Json::parse_event_t event, const Json& parsed) {
      if (event == Json::parse_event_t::key && depth == 1 &&
          !names.insert(parsed.get<std::string>()).second) {
        refuse(str("holds \"", parsed.get<std::string>(), "\" twice; expected each name once"));
      }
      return true;
    };
    const char* text = mapping_->data() + kLengthBytes;
    try {
      Json header = Json::parse(text, text + length, refuse_repeats);
      if (!header.is_object()) refuse("has a header that is no JSON object");
      return header;
    } catch (const Json::exception& error) {
      refuse(str("has a header that is no JSON (", error.what(), ")"));
    }
  }

  void read_metadata(const Json& value, std::map<std::string, std::string>* metadata) const {
    try {
      auto pairs = value.get<std::map<std::string, std::string>>();
      if (metadata != nullptr) *metadata = std::move(pairs);
    } catch (const Json::exception&) {
      refuse(str(kMetadata, " is not an object of strings"));
    }
  }

  Entry parse_entry(const std::string& name, const Json& value) const {
    const auto wrong = [&](const std::string& what) {
      refuse(str("tensor \"", name, "\" ", what));
    };
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !is_counts(value["shape"]) || !value.contains("data_offsets") ||
        !is_counts(value["data_offsets"])) {
      wrong("lacks a dtype, a shape or data_offsets; expected a string and two arrays of counts");
    }
    const auto dtype = value["dtype"].get<std::string>();
    const auto shape = value["shape"].get<std::vector<uint64_t>>();
    const auto offsets = value["data_offsets"].get<std::vector<uint64_t>>();
    const auto* known = std::find_if(kDtypes.begin(), kDtypes.end(),
                                     [&](const auto& entry) { return entry.first == dtype; });
    if (known == kDtypes.end()) {
      wrong(str("has the unknown dtype \"", dtype,
                "\"; expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL"));
    }
    if (offsets.size() != 2 || offsets[0] > offsets[1] ||
        offsets[1] > mapping_->size() - data_begin_) {
      wrong(str("has data_offsets [", join_counts(offsets), "] outside the file's ",
                mapping_->size() - data_begin_, " bytes of data; is the file cut?"));
    }
    uint64_t bytes = at::elementSize(known->second);
    for (const uint64_t side : shape) {
      if (__builtin_mul_overflow(bytes, side, &bytes) || side > INT64_MAX) {
        wrong(str("has the impossible shape [", join_counts(shape), "]"));
      }
    }
    if (bytes != offsets[1] - offsets[0]) {
      wrong(str("has ", offsets[1] - offsets[0], " bytes; expected ", bytes, " for ", dtype, " [",
                join_counts(shape), "]"));
    }
    return {name, known->second, {shape.begin(), shape.end()}, offsets[0], offsets[1]};
  }

  /// get<uint64_t> alone would let 2.5 and -1 pass.
  static bool is_counts(const Json& array) {
    return array.is_array() && std::all_of(array.begin(), array.end(), [](const Json& value) {
             return value.is_number_unsigned();
           });
  }

  static std::string join_counts(const std::vector<uint64_t>& counts) {
    std::vector<std::string> parts;
    for (const uint64_t count : counts) parts.push_back(str(count));
    return join(parts, ", ");
  }

  /// The tensors, sorted, lie one after the other without gap or overlap and reach the end of the
  /// file.
  void check_layout(const std::vector<Entry>& entries) const {
    size_t expected = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != expected) {
        refuse(str("tensor \"", entry.name, "\" starts at byte ", entry.begin, " of the data, ",
                   entry.begin < expected ? "overlapping the one before" : "after a gap",
                   "; expected ", expected));
      }
      expected = entry.end;
    }
    if (data_begin_ + expected != mapping_->size()) {
      refuse(str("has ", mapping_->size(), " bytes; expected ", data_begin_ + expected,
                 " from its header"));
    }
  }

  at::Tensor view(const Entry& entry) const {
    char* data = mapping_->data() + data_begin_ + entry.begin;
    const auto options = at::TensorOptions().dtype(entry.dtype);
    at::Tensor tensor = torch::from_blob(
        data, entry.shape, [mapping = mapping_](void*) {}, options);
    // The format does not align tensors after one of a narrower type; what reads whole elements
    // needs it.
    const bool aligned = reinterpret_cast<uintptr_t>(data) % at::elementSize(entry.dtype) == 0;
    return aligned ? tensor : copy_unaligned(data, tensor);
  }

  static at::Tensor copy_unaligned(const char* data, const at::Tensor& tensor) {
    at::Tensor copy = at::empty(tensor.sizes(), tensor.options());
    std::memcpy(copy.mutable_data_ptr(), data, tensor.nbytes());
    return copy;
  }

  std::string path_;
  std::shared_ptr<Mapping> mapping_;
  size_t data_begin_ = 0;
};

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(tensors, metadata);
  const fs::path temporary = path.string() + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    const uint64_t length = header.size();
    write_bytes(out, &length, kLengthBytes);
    write_bytes(out, header.data(), header.size());
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor plain = tensor.detach().cpu().contiguous();
      if (plain.nbytes() > 0) write_bytes(out, plain.const_data_ptr(), plain.nbytes());
    }
    out.flush();
    if (!out) {
      const int reason = errno;
      std::error_code ignored;
      fs::remove(temporary, ignored);
      throw std::runtime_error(str(path.string(), ": cannot be written: ", std::strerror(reason)));
    }
  }
  fs::rename(temporary, path);
}

NamedTensors read_safetensors(const fs::path& path, std::map<std::string, std::string>* metadata) {
  return Reader(path).read(metadata);
}

}  // namespace altup
