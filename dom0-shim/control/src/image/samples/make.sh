#!/bin/sh
# Makes the samples again: the same bytes, packed by gzip 1.12, xz 5.4, zstd 1.5 and lz4 1.9.
# `plain` in ../tests.rs says the same in Rust.
set -eu
cd "$(dirname "$0")"
plain=$(mktemp)
trap 'rm -f "$plain"' EXIT
python3 - >"$plain" <<'END'
import struct, sys
calls = b"".join(b"call \xe8" + struct.pack("<I", i) for i in range(500))
noise, state = bytearray(), 1
for _ in range(1500):
    state = (state * 1103515245 + 12345) % 2**31
    noise.append(state >> 16 & 0xFF)
lines = b"".join(b"line %d\n" % (i * i % 83) for i in range(20000))
sys.stdout.buffer.write(calls + bytes(noise) + bytes(150000) + lines + calls)
END
gzip -9nc "$plain" >plain.gz
xz -c --check=crc32 --x86 --lzma2=preset=9e "$plain" >x86.xz
xz -c --check=crc64 -6 "$plain" >plain.xz
zstd -qc -19 "$plain" >plain.zst
zstd -qc --ultra -22 <"$plain" >large-window.zst
lz4 -qc9 -BD "$plain" >plain.lz4
lz4 -qc9 -BI -BX --content-size "$plain" >checks.lz4
lz4 -qcl9 "$plain" >legacy.lz4
