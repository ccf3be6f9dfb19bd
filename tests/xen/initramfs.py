# SPDX-License-Identifier: LGPL-2.1-or-later
"""Initial file systems for dom0 and the guests, made without root.

An Archive collects files under the names they shall have and writes them as a newc cpio archive
in which everything belongs to root. A Library finds what the programs in it are linked with: in
the tree of the programs under test, in the unpacked packages, and last on this machine.
"""

import lzma
import os
import re
import stat
import struct
import subprocess


class Archive:
    def __init__(self):
        self.entries = {}

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self.entries:
            self.directory(parent)

    def directory(self, name):
        name = name.strip("/")
        self._parents(name)
        self.entries.setdefault(name, (stat.S_IFDIR | 0o755, b""))

    def data(self, name, content, mode=0o644):
        name = name.strip("/")
        self._parents(name)
        self.entries[name] = (stat.S_IFREG | mode, content)

    def symlink(self, name, target):
        name = name.strip("/")
        self._parents(name)
        self.entries[name] = (stat.S_IFLNK | 0o777, target.encode())

    def file(self, name, source):
        with open(source, "rb") as file:
            self.data(name, file.read(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def tree(self, source):
        """Everything below source, at the root; libtool's archives are of no use there."""
        for folder, _, names in os.walk(source):
            for name in names:
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, source)
                if os.path.islink(path):
                    self.symlink(inside, os.readlink(path))
                elif not name.endswith((".la", ".a")):
                    self.file(inside, path)

    def write(self, path):
        with open(path, "wb") as out:
            for number, name in enumerate(sorted(self.entries), 1):
                mode, content = self.entries[name]
                out.write(_member(number, mode, name, content))
            out.write(_member(0, 0, "TRAILER!!!", b""))


def _member(number, mode, name, content):
    raw = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
    return _padded(head) + _padded(content)


def _padded(data):
    return data + bytes(-len(data) % 4)


class Library:
    FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "lib", "usr/lib", "usr/local/lib")

    def __init__(self, roots):
        self.roots = roots
        self.cache = {}

    def find(self, name):
        for root in self.roots:
            for folder in self.FOLDERS:
                path = os.path.join(root, folder, name)
                if os.path.exists(path):
                    return path
        return None

    def needed(self, path):
        if path not in self.cache:
            dump = subprocess.run(
                ["readelf", "-dl", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
            ).stdout
            self.cache[path] = re.findall(r"\(NEEDED\).*\[(.*)\]", dump)
        return self.cache[path]

    def add(self, archive, sources):
        """Put into the archive's /lib what these files need, and what that needs."""
        todo, done, missing = list(sources), set(), set()
        while todo:
            source = todo.pop()
            for name in self.needed(source):
                if name in done:
                    continue
                done.add(name)
                path = self.find(name)
                if path:
                    archive.file("lib/" + name, path)
                    todo.append(path)
                else:
                    missing.add(f"{name} (for {os.path.basename(source)})")
        if missing:
            raise SystemExit("missing shared libraries: " + ", ".join(sorted(missing)))


def vmlinux(bzimage):
    """The ELF kernel in a bzImage. Unpacking it here saves doing so in emulation, once a domain."""
    with open(bzimage, "rb") as file:
        image = file.read()
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(image[start : start + length])
