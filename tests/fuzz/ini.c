/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the syntax of poold's configuration files: whatever is in one, each item is whole, without
 * blanks around it, and in a line that is there; what is refused is refused with a sentence. Input: a
 * file. */
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "fuzz.h"

static unsigned last_line;

static int blank(char c)
{
    return c == ' ' || c == '\t';
}

static void text_check(const char *text)
{
    size_t bytes = strlen(text);

    if (bytes > INI_LINE_BYTES_MAX || (bytes && (blank(text[0]) || blank(text[bytes - 1]))))
        abort();
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < 0x20 && text[i] != '\t')
            abort();
    }
}

static int on_item(void *data, const struct ini_item *item, struct err *err)
{
    const unsigned *lines = data;

    (void)err;
    if (!item->section || !*item->section || !item->key != !item->value ||
        item->line <= last_line || item->line > *lines)
        abort();
    last_line = item->line;
    text_check(item->section);
    text_check(item->name);
    if (item->key) {
        text_check(item->key);
        text_check(item->value);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    struct err err = { 0 };
    unsigned lines = 1;

    if (!text)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    for (size_t i = 0; i < bytes; i++)
        lines += data[i] == '\n';
    last_line = 0;
    if (ini_parse(text, bytes, "file", on_item, &lines, &err) < 0 &&
        (err.code == 0 || strncmp(err.msg, "file:", 5) != 0))
        abort();
    free(text);
    return 0;
}
