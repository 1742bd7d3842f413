"""Puts files into a C header as bytes: embed.py OUT.h FILE... -> new_env_files[] with name, bytes and size."""
import os
import sys

out, *paths = sys.argv[1:]
with open(out, "w") as header:
    for number, path in enumerate(paths):
        with open(path, "rb") as file:
            data = file.read()
        header.write("static const unsigned char file_%d[] = {\n" % number)
        for at in range(0, len(data), 32):
            header.write("".join("%d," % byte for byte in data[at:at + 32]) + "\n")
        header.write("};\n")
    header.write("static const struct {\n    const char          *name;\n    const unsigned char *bytes;\n"
                 "    size_t               size;\n} new_env_files[] = {\n")
    for number, path in enumerate(paths):
        header.write('    {"%s", file_%d, sizeof file_%d},\n' % (os.path.basename(path), number, number))
    header.write("};\n")
