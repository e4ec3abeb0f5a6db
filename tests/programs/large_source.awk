# large_source.awk - writes a large C file, the same every time: awk -v functions=N -f large_source.awk
# Every function is a few dozen lines of what an optimiser spends memory on: loops, switches, structs, calls, tables.
function random(n) { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) % n }
function expression(depth) {
    if (depth == 0)
        return random(3) ? substr("abcdxyz", random(7) + 1, 1) : 1 + random(4000) "u"
    return "(" expression(depth - 1) " " substr("+-*&|^", random(6) + 1, 1) " " expression(depth - 1) ")"
}
BEGIN {
    state = 20
    print "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
    print "struct node { struct node *left, *right; uint32_t key; int16_t small[6]; double weight; };\n"
    for (i = 0; i < functions; i++) {
        printf "static const uint32_t table_%d[] = {", i
        for (j = 0; j < 16; j++)
            printf "%s%du", j ? ", " : "", random(32768) * 65536 + random(32768)
        print "};\n"
        printf "uint32_t function_%d(const struct node *n, uint32_t a, uint32_t b, size_t length)\n{\n", i
        print "    uint32_t c = n->key, d = (uint32_t)length, x = a ^ b, y = 1, z = 0;"
        print "    for (size_t i = 0; i < length; i++) {"
        print "        x += table_" i "[i & 15] * (uint32_t)(i + y);"
        print "        switch ((x >> 3) & 7) {"
        for (j = 0; j < 7; j++) {
            print "        case " j ":"
            print "            " substr("abcdxyz", j + 1, 1) " = " expression(3) ";"
            print (random(2) ? "            break;" : "            continue;")
        }
        print "        default:\n            z ^= (uint32_t)n->small[i % 6];\n        }"
        print "        if (n->weight * (double)x > " random(1000) ".5)\n            y = " expression(2) ";"
        print "    }"
        print "    for (const struct node *m = n; m != NULL; m = (a & 1) ? m->left : m->right, a >>= 1) {"
        print "        struct node copy;"
        print "        memcpy(&copy, m, sizeof copy);"
        print "        copy.key += " expression(2) ";"
        print "        z += copy.key * " 1 + random(99) ";"
        print "    }"
        if (i > 3) {
            print "    if (x > y)"
            printf "        z += function_%d(n, x, y, length / 2);\n", i - 1 - random(3)
        }
        print "    return a + b + c + d + x + y + z;\n}\n"
    }
}
