#!/usr/bin/env bash
# Fetches public data sets and the T5 vocabulary from their official addresses, into the layout that the tasks read.
#
#   scripts/download_data.sh [--to DIR] [--dry-run] [--table FILE] NAME…
#   scripts/download_data.sh --list
#
# NAME is one of --list, or a benchmark (glue, superglue) for all of its tasks. DIR is `data` where it is not given.
# What is there already is not fetched again. A download that was interrupted goes on where it stopped. A file gets its
# name only after its size and SHA-256 checksum were found right. --dry-run says what would be done, and does nothing.
# --table names another list of files than scripts/data_sets.txt, which explains its own format.
# Exit status: 0 all there, 1 a download failed or was not what it should be, 2 a mistake on the command line.
caller=$PWD
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# absolute PATH: as seen from where the script was called.
absolute() { case "$1" in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$caller" "$1" ;; esac }

size_of() { if [[ -f "$1" ]]; then wc -c <"$1" | tr -d ' '; else printf 0; fi; }

sha256_of() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }

megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

# state_of: of the row in name, sha256, path, members: absent, present, or (a file that is not the published one) other.
state_of() {
  local member
  if [[ "$path" == */ ]]; then
    for member in ${members//,/ }; do
      if [[ ! -s "$to/$path$member" ]]; then
        printf absent
        return
      fi
    done
    printf present
  elif [[ ! -f "$to/$path" ]]; then
    printf absent
  elif [[ "$sha256" == - || "$(sha256_of "$to/$path")" == "$sha256" ]]; then
    printf present
  else
    printf other
  fi
}

# fetch PART: the row's address into PART, going on where an earlier run stopped.
fetch() {
  local part=$1 status=0 progress=--silent
  if [[ -t 2 ]]; then
    progress=--progress-bar
  fi
  local curl=(curl --fail --location "$progress" --show-error --retry 3 --connect-timeout 30 --output "$part" "$address")
  if (($(size_of "$part") > bytes)); then
    rm -f "$part"
  fi
  if (($(size_of "$part") < bytes)); then
    "${curl[@]}" --continue-at - || status=$?
    if ((status == 33)); then # the server can only start from the beginning
      status=0
      rm -f "$part"
      "${curl[@]}" || status=$?
    fi
  fi
  if ((status != 0)); then
    fail 1 "$name: $address could not be fetched (curl's status $status); the same command goes on where it stopped"
  fi
}

# verify PART: removes what is not the published file, and ends the script.
verify() {
  local part=$1 size computed
  size="$(size_of "$part")"
  if ((size != bytes)); then
    rm -f "$part"
    fail 1 "$name: $address gave $size bytes, expected $bytes; it is damaged or has changed, and was removed"
  fi
  computed="$(sha256_of "$part")"
  if [[ "$sha256" == - ]]; then
    say "$name: no published checksum known; computed: sha256 $computed"
  elif [[ "$computed" != "$sha256" ]]; then
    rm -f "$part"
    fail 1 "$name: $address has the sha256 $computed, expected $sha256; it is damaged or has changed, and was removed"
  fi
}

# unpack ARCHIVE: the row's members, each put in its place when all are there.
unpack() {
  local archive=$1 scratch member
  scratch="$(mktemp -d "$to/${path}unpacking.XXXXXX")"
  if ! python3 - "$archive" "$scratch" ${members//,/ } <<'PY'; then
import posixpath, sys, tarfile, zipfile

archive, directory, *members = sys.argv[1:]
try:
    if zipfile.is_zipfile(archive):
        opened = zipfile.ZipFile(archive)
        names, extract = opened.namelist(), opened.extract
    else:
        opened = tarfile.open(archive)
        names, extract = opened.getnames(), opened.extract
    stored = {posixpath.normpath(name): name for name in names}
    for member in members:
        if member not in stored:
            sys.exit(f"{member} is not in the archive")
        extract(stored[member], directory)
except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
    sys.exit(str(error))
PY
    rm -rf "$scratch"
    fail 1 "$name: $archive could not be unpacked (see above); it is kept"
  fi
  for member in ${members//,/ }; do
    mkdir -p "$(dirname "$to/$path$member")"
    mv -f "$scratch/$member" "$to/$path$member"
  done
  rm -rf "$scratch" "$archive"
}

# GLUE publishes no MRPC: its licence allows only Microsoft's own files, of which the ids of the dev set make train and dev
# as GLUE's own script does: the rows as they are, with test numbered from 0 and without its labels.
build_mrpc() {
  local directory="$to/glue/MRPC" file
  if [[ -s "$directory/train.tsv" && -s "$directory/dev.tsv" && -s "$directory/test.tsv" ]]; then
    return
  fi
  awk -F '\t' -v train="$directory/train.tsv.part" -v dev="$directory/dev.tsv.part" '
    { sub(/\r$/, "") }
    FNR == NR { is_dev[$1 "\t" $2]; next }
    FNR == 1 { print >train; print >dev; next }
    { print >((($2 "\t" $3) in is_dev) ? dev : train) }
  ' "$directory/dev_ids.tsv" "$directory/msr_paraphrase_train.txt"
  awk -F '\t' -v OFS='\t' '
    { sub(/\r$/, "") }
    FNR == 1 { print "index", "#1 ID", "#2 ID", "#1 String", "#2 String"; next }
    { print FNR - 2, $2, $3, $4, $5 }
  ' "$directory/msr_paraphrase_test.txt" >"$directory/test.tsv.part"
  for file in train dev test; do
    mv -f "$directory/$file.tsv.part" "$directory/$file.tsv"
  done
  say "glue/mrpc: made train.tsv, dev.tsv and test.tsv of Microsoft's files"
}

# get: does what the row in name, bytes, sha256, address, path, members asks for.
get() {
  local part what state
  if [[ "$path" == */ ]]; then
    part="$to/$path$(basename "$address").part"
    what="${members//,/, } in $to/$path"
  else
    part="$to/$path.part"
    what="$to/$path"
  fi
  state="$(state_of)"
  if [[ "$state" == present ]]; then
    say "$name: there already: $what"
  elif [[ "$state" == other ]]; then
    fail 1 "$name: $to/$path is there, but is not the published file; move it away to have that one"
  elif [[ "$dry_run" == true ]]; then
    say "$name: would fetch $address ($bytes bytes, $(megabytes "$bytes"); sha256 ${sha256/#-/unknown}) -> $what"
  else
    say "$name: fetching $address ($(megabytes "$bytes"))"
    mkdir -p "$(dirname "$part")"
    fetch "$part"
    verify "$part"
    if [[ "$path" == */ ]]; then
      unpack "$part"
    else
      mv -f "$part" "$to/$path"
    fi
    say "$name: there now: $what"
  fi
}

to=$root/data
table=$root/scripts/data_sets.txt
dry_run=false
list=false
names=()
while (($# > 0)); do
  case "$1" in
    --to | --table)
      [[ $# -ge 2 ]] || fail 2 "$1 needs a value"
      if [[ "$1" == --to ]]; then to="$(absolute "$2")"; else table="$(absolute "$2")"; fi
      shift
      ;;
    --dry-run) dry_run=true ;;
    --list) list=true ;;
    -h | --help)
      sed -n '2,/^caller/{/^caller/d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) fail 2 "unknown option $1; expected --to DIR, --dry-run, --list, --table FILE or names" ;;
    *) names+=("$1") ;;
  esac
  shift
done
[[ -f "$table" ]] || fail 2 "$table: is not there; expected the table of files to fetch"

rows=()
known=()
while read -r name bytes rest; do
  case "$name" in "" | \#*) continue ;; esac
  rows+=("$name $bytes $rest")
  if [[ "$name" == */* && " ${known[*]:-} " != *" ${name%%/*} "* ]]; then
    known+=("${name%%/*}")
  fi
  if [[ " ${known[*]:-} " != *" $name "* ]]; then
    known+=("$name")
  fi
done <"$table"

if [[ "$list" == true ]]; then
  for known_name in "${known[@]}"; do
    printf '%s\n' "${rows[@]}" | awk -v wanted="$known_name" '
      $1 == wanted || index($1, wanted "/") == 1 { bytes += $2 }
      END { printf "%-20s %8.1f MB\n", wanted, bytes / 1e6 }'
  done
  exit 0
fi
((${#names[@]} > 0)) || fail 2 "no name given; expected some of: ${known[*]}"
for wanted in "${names[@]}"; do
  [[ " ${known[*]} " == *" $wanted "* ]] || fail 2 "unknown data set $wanted; expected some of: ${known[*]}"
done
for program in curl python3; do
  command -v "$program" >/dev/null || fail 2 "$program is missing; please install it"
done

for wanted in "${names[@]}"; do
  for row in "${rows[@]}"; do
    read -r name bytes sha256 address path members <<<"$row"
    if [[ "$name" == "$wanted" || "$name" == "$wanted"/* ]]; then
      get
    fi
  done
  if [[ "$dry_run" == false && "$wanted" =~ ^glue(/mrpc)?$ && " ${known[*]} " == *" glue/mrpc "* ]]; then
    build_mrpc
  fi
done
