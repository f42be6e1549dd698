#!/bin/bash
# Reads the #include lines of the whole tree against the table of who may include whom, and prints each line that breaks it
# with the row it breaks. Bazel's visibility cannot say "no protobuf here", nor look into a header-only library.
#
# Changing the table is a design decision: a commit of its own, with the why.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."  # the source tree, not the test's copy of a part of it

# The folders a row is for (longest first: the first row that matches a folder is its row) | what its files may include,
# besides the C++ and C standard libraries and the system's own headers.
table='
runtime/base                    | runtime/base/ absl/
runtime/stack                   | runtime/base/ runtime/stack/ absl/ sanitizer/
runtime/unwind                  | runtime/base/ runtime/stack/ runtime/unwind/ absl/
runtime/record                  | runtime/base/ runtime/stack/ runtime/unwind/ runtime/record/ absl/
runtime/trace                   | runtime/base/ runtime/stack/ runtime/unwind/ runtime/trace/ absl/
runtime/sync                    | runtime/[a-z_]+\.h runtime/base/ runtime/sync/ absl/
runtime/io                      | runtime/[a-z_]+\.h runtime/base/ runtime/io/ absl/ boost/asio boost/system/
runtime                         | runtime/[a-z_]+\.h runtime/base/ runtime/stack/ runtime/unwind/ runtime/record/ runtime/trace/ absl/ boost/asio boost/system/
pprof/gperftools                | runtime/ pprof/ proto/ absl/ gperftools/
pprof                           | runtime/ pprof/ proto/ google/protobuf/ re2/re2\.h$ zlib\.h$ backtrace\.h$ absl/
server                          | runtime/[a-z_]+\.h runtime/base/ runtime/sync/ runtime/io/ pprof/ server/ absl/ boost/ prometheus/ spdlog/
'
# What an allowed prefix would let through.
forbidden='
server                          | pprof/gperftools/ pprof/encode/[a-z_]*\.pb\.h profile\.pb\.h
pprof                           | server/ boost/beast
'
system='^((sys|linux|net|netinet|arpa|asm)/)?[a-z0-9_]+(\.h)?$'

include_name='[<"]([^>"]+)[>"]'

# Sets `row`. No subshells here and below: there is a line for each #include of the tree.
row_for() {  # TABLE FOLDER
  local folders includes
  row=
  while IFS='|' read -r folders includes; do
    folders=${folders// /}
    [[ -n $folders && ($2 == "$folders" || $2 == "$folders"/*) ]] && { row=$includes; return; }
  done <<<"$1"
  return 0
}

allowed() {  # PATTERNS INCLUDE
  local pattern
  for pattern in $1; do [[ $2 =~ ^$pattern ]] && return 0; done
  return 1
}

broken=0
lines=0
while IFS=: read -r file number text; do
  [[ $text =~ $include_name ]]
  include=${BASH_REMATCH[1]}
  folder=${file%/*}
  lines=$((lines + 1))
  row_for "$forbidden" "$folder"
  not_allowed=$row
  row_for "$table" "$folder"
  if [[ $include =~ $system && ! $include =~ ^(zlib|backtrace)\.h$ ]] || allowed "$row" "$include"; then
    allowed "$not_allowed" "$include" || continue
  fi
  echo "$file:$number includes $include; files in ${folder%/} may include:$row"
  broken=$((broken + 1))
done < <(grep -rnE '^ *# *include *[<"]' runtime pprof server --include='*.h' --include='*.cc' --include='*.S' --include='*.inc')

((lines > 100)) || { echo "only $lines #include lines were found: is this the source tree? $PWD"; exit 1; }
((broken == 0)) || { echo "$broken of $lines #include lines break the layering"; exit 1; }
echo "$lines #include lines keep the layering"
