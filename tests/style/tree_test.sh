#!/bin/bash
# Small rules about the tree that would have to be stated twice otherwise. Each prints what to do.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."

failures=0
# forbid RULE FUNCTION: the function prints the places that break the rule.
forbid() {
  local places
  places=$("$2") || true  # grep's status says whether it found something, which the text says as well
  [[ -n $places ]] || return 0
  printf '%s\n%s\n\n' "$1" "$(sed 's/^/    /' <<<"$places")"
  failures=$((failures + 1))
}

rooms=(runtime pprof server tests)
mapfile -t sources < <(find "${rooms[@]}" \( -name '*.cc' -o -name '*.h' -o -name '*.S' \) | sort)
((${#sources[@]} > 100)) || { echo "only ${#sources[@]} sources were found: is this the source tree? $PWD"; exit 1; }

unnamed_files() {
  local file folder name stem pattern
  local -A build  # text of the BUILD files
  for file in "${sources[@]}"; do
    folder=${file%/*}
    while [[ $folder == */* && ! -f $folder/BUILD.bazel ]]; do folder=${folder%/*}; done
    [[ -v build[$folder] ]] || build[$folder]=$(<"$folder/BUILD.bazel")
    name=${file#"$folder"/}
    stem=${name##*/}
    stem=${stem%.*}
    # By name, or by the stem in a list that a comprehension turns into file names.
    pattern="\"(${name//./\\.}|$stem|${stem%_test})\"|glob\\("
    [[ ${build[$folder]} =~ $pattern ]] || echo "$file"
  done
}
forbid "A file that no BUILD.bazel names: add it to one or delete it." unnamed_files

odd_guards() {
  local file guard
  for file in "${sources[@]}"; do
    [[ $file == *.h ]] || continue
    guard=${file//[.\/-]/_}
    guard=FIBERSCOPE_${guard^^}_
    grep -qx "#define $guard" "$file" || echo "$file: want $guard"
  done
}
forbid "A header guard that is not the header's path: rename it." odd_guards

vague_todos() { grep -nE 'TODO' "${sources[@]}" | grep -vE 'TODO\((perf|bug|test|api|doc)\): .*\.$'; }
forbid 'A TODO without kind and condition: write "// TODO(perf): shard once the lock shows in bench/spawn_bench."' vague_todos

sleeping_tests() {
  grep -nE '(^|[^a-z_])(sleep_for|usleep|nanosleep)\(' "${sources[@]}" | grep '^tests/' | grep -v '^tests/bench/'
}
forbid "A test that waits by the clock: wait for a condition, or use a virtual clock." sleeping_tests

sanitizer_branches() {
  grep -nE '__SANITIZE_(ADDRESS|THREAD)__|__has_feature' "${sources[@]}" |
    grep -vE '^(runtime/(stack|base)/|runtime/control_block\.h|tests/)'
}
forbid "A sanitizer branch outside of runtime/stack and runtime/base: give it a no-op twin there." sanitizer_branches

long_lines() { LC_ALL=C awk 'length($0) > 132 && $0 !~ /[^ -~]/ { print FILENAME ":" FNR ": " length($0) " columns" }' "${sources[@]}"; }
forbid "A line that is far too long: third_party/lint.sh --fix." long_lines

missing_paths() {
  local at path
  grep -rnoE '`(runtime|pprof|server|tests|proto|third_party)/[A-Za-z0-9_./-]*`' --include='*.md' README.md "${rooms[@]}" |
    while IFS='`' read -r at path _; do [[ -e ${path%/} ]] || echo "$at $path"; done
}
forbid "A README that names a file or folder that is not there: keep it true." missing_paths

((failures == 0)) && echo "${#sources[@]} sources keep the rules"
exit $((failures > 0))
