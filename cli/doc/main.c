/* SPDX-License-Identifier: Apache-2.0 */
/* voltctl-doc man|bash|zsh|fish: run by the build, not installed. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "doc.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {
        { "man", doc_man }, { "bash", doc_bash }, { "zsh", doc_zsh }, { "fish", doc_fish }
    };

    for (unsigned i = 0; argc == 2 && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].print();
            return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
        }
    }
    fputs("usage: voltctl-doc man|bash|zsh|fish\n", stderr);
    return 64;
}
