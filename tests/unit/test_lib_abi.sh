#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the built library shows to the dynamic linker: its name, the functions of the
# public header and nothing else, and that programs which were linked against a library
# without symbol versions still find them.
set -eu

top=$(cd "${srcdir:-.}" && pwd)
library=lib/.libs/libqubesdb.so
variable() { sed -n "s/^$1 = //p" Makefile; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

soname=$(readelf -dW "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = libqubesdb.so ] || { echo "SONAME is $soname"; exit 1; }

sed -n 's/^[a-z].*[ *]\(qdb_[a-z_]*\)(.*/\1/p' "$top/lib/qubesdb-client.h" | sort >"$dir/declared"
nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | sort >"$dir/defined"
diff "$dir/declared" "$dir/defined" || { echo "the header and the library differ"; exit 1; }
[ "$(wc -l <"$dir/declared")" -ge 12 ] || { echo "functions were removed"; exit 1; }

if nm -D --defined-only "$library" | awk '$2 == "T" && $3 !~ /@@LIBQUBESDB_[0-9]+$/' | grep .; then
	echo "symbols without their version"
	exit 1
fi

cc="$(variable CC) $(variable QDB_CFLAGS) $(variable QDB_LDFLAGS)"
mkdir "$dir/old"
echo 'int qdb_watches_pending(void *h); int qdb_watches_pending(void *h) { return h != 0; }' >"$dir/old.c"
echo 'int qdb_watches_pending(void *h); int main(void) { return qdb_watches_pending(0) != -1; }' >"$dir/program.c"
$cc -fPIC -shared -Wl,-soname,libqubesdb.so -o "$dir/old/libqubesdb.so" "$dir/old.c"
$cc -fPIE -pie -o "$dir/program" "$dir/program.c" -L"$dir/old" -lqubesdb
if LD_LIBRARY_PATH="$dir/old" "$dir/program"; then
	echo "the old library was not the one in use"
	exit 1
fi
LD_LIBRARY_PATH=lib/.libs LD_BIND_NOW=1 "$dir/program"
