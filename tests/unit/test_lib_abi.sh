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

sed -n 's/^[a-z].*[ *]\(qdb_[a-z_]*\)(.*/\1/p' "$top"/lib/qubesdb-*.h | sort >"$dir/declared"
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

# Any C compiler takes the headers.
printf '#include <qubesdb.h>\n#include <qubesdb-client.h>\n#include <qubesdb-async.h>\n' >"$dir/headers.c"
$(variable CC) -std=c89 -Wall -Wextra -pedantic -Werror -fsyntax-only -I"$top/lib" -I"$top/protocol" "$dir/headers.c"

# Sources written for the deployed header, whose strings are not const: calls compile as
# they are, pointers to functions with the old prototypes asked for. Nothing warns.
cat >"$dir/calls.c" <<'EOF'
#include <qubesdb-client.h>
int calls(qdb_handle_t h, char *path, char *value, unsigned len);
int calls(qdb_handle_t h, char *path, char *value, unsigned len)
{
	unsigned n, *lens;
	char *v = qdb_read(h, path, &len), **l = qdb_list(h, path, &n), **m = qdb_multiread(h, path, &lens, &n);
	return qdb_write(h, path, value, len) && qdb_rm(h, path) && qdb_watch(h, path) && qdb_unwatch(h, path) &&
	       qdb_read_watch(h) && qdb_watch_fd(h) && qdb_open(path) && v && l && m;
}
EOF
cat >"$dir/literals.c" <<'EOF'
#include <qubesdb-client.h>
int literals(qdb_handle_t h, const char *path);
int literals(qdb_handle_t h, const char *path)
{
	return qdb_write(h, path, "value", 5) && qdb_read(h, "/path", 0) && qdb_open("vm");
}
EOF
cat >"$dir/pointers.c" <<'EOF'
#define QDB_DEPLOYED_PROTOTYPES
#include <qubesdb-client.h>
char *(*read_pointer)(qdb_handle_t, char *, unsigned int *) = qdb_read;
int (*rm_pointer)(qdb_handle_t, char *) = qdb_rm;
int (*write_pointer)(qdb_handle_t, char *, char *, unsigned int) = qdb_write;
qdb_handle_t (*open_pointer)(char *) = qdb_open;
EOF
strict="-Wall -Wextra -Wwrite-strings -Wcast-qual -pedantic -Werror -fsyntax-only -I$top/lib"
for source in calls literals pointers; do
	for standard in gnu89 c99 c17; do
		$(variable CC) -std=$standard $strict "$dir/$source.c"
	done
	! command -v g++ >/dev/null || g++ $strict -x c++ "$dir/$source.c"
done
sed -i /QDB_DEPLOYED_PROTOTYPES/d "$dir/pointers.c"
if $(variable CC) $strict "$dir/pointers.c" 2>/dev/null; then
	echo "the prototypes are not const-correct"
	exit 1
fi
