#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Types and functions of the library against the baseline in the tree. Programs that were
# built with the baseline have to run with this library, so nothing that is there may
# change; and what is new has to be in the baseline, so that it may not change either.
set -u

top=$(cd "${srcdir:-.}" && pwd)
library=lib/.libs/libqubesdb.so
baseline=$top/lib/libqubesdb.abi

skip() {
	echo "NOT CHECKED whether the library's ABI is the old one: $*"
	exit 77
}

fail() {
	echo "$*"
	exit 1
}

command -v abidiff >/dev/null || skip "there is no abidiff (Debian: abigail-tools)"
architecture=$(sed -n "s/.*architecture='elf-amd-\([^']*\)'.*/\1/p" "$baseline" | head -n 1)
[ "$(uname -m)" = "$architecture" ] || skip "the baseline is one of $architecture"
readelf -SW "$library" | grep -q '\.debug_info' || skip "the library has no debug information"

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# Each change of the baseline is one that the library seems to have made since.
bites() {
	sed "$2" "$baseline" >"$dir/changed.abi"
	! cmp -s "$baseline" "$dir/changed.abi" || fail "the baseline has nothing like: $1"
	! abidiff "$dir/changed.abi" "$library" >/dev/null || fail "not noticed: $1"
}
bites "a function that is gone" "s/'qdb_rm'/'qdb_gone'/g"
bites "a symbol in another version" "s/name='qdb_rm' version='LIBQUBESDB_1'/name='qdb_rm' version='LIBQUBESDB_0'/"
char=$(sed -n "s/.*type-decl name='char' .* id='\([^']*\)'.*/\1/p" "$baseline")
bites "a member of another type" "s/\(var-decl name='value_len' type-id=\)'[^']*'/\1'$char'/"
bites "a result of another type" "/function-decl name='qdb_rm'/,/<return/s/\(<return type-id=\)'[^']*'/\1'$char'/"
bites "a structure of another size" "s/\(class-decl name='qdb_entry' size-in-bits=\)'[0-9]*'/\1'64'/"

abidiff --no-added-syms "$baseline" "$library" || fail "programs that use the library would break"
abidiff "$baseline" "$library" || fail "new in the library: make abi-baseline, and commit it"
