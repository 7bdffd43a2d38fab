/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the syntax of configuration files; see ini.h. */
#include "base/ini.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

#define BLANKS " \t"

struct reader {
    ini_item_fn fn;
    void *data;
    struct ini_item item; /* its section is that of the lines that follow */
};

/* Without the blanks around it. */
static char *trimmed(char *text)
{
    size_t bytes;

    text += strspn(text, BLANKS);
    bytes = strlen(text);
    while (bytes > 0 && strchr(BLANKS, text[bytes - 1]))
        text[--bytes] = '\0';
    return text;
}

static int head_read(struct reader *reader, char *line, struct err *err)
{
    size_t bytes = strlen(line);

    if (line[bytes - 1] != ']')
        return err_set(err, EINVAL, "a section's line ends with ']'");
    line[bytes - 1] = '\0';
    char *section = trimmed(line + 1);
    char *blank = strpbrk(section, BLANKS);
    reader->item.name = "";
    if (blank) {
        *blank = '\0';
        reader->item.name = trimmed(blank + 1);
    }
    if (!*section)
        return err_set(err, EINVAL, "a section without a name");
    reader->item.section = section;
    reader->item.key = reader->item.value = NULL;
    return reader->fn(reader->data, &reader->item, err);
}

static int key_read(struct reader *reader, char *line, struct err *err)
{
    char *equals = strchr(line, '=');

    if (!equals || equals == line)
        return err_set(err, EINVAL, "this is no 'key = value', no '[section]' and no '# comment'");
    if (!reader->item.section)
        return err_set(err, EINVAL, "a key before the first [section]");
    *equals = '\0';
    reader->item.key = trimmed(line);
    reader->item.value = trimmed(equals + 1);
    return reader->fn(reader->data, &reader->item, err);
}

static int line_check(const char *line, size_t bytes, struct err *err)
{
    if (bytes > INI_LINE_BYTES_MAX)
        return err_set(err, EINVAL, "a line is at most %u bytes long", INI_LINE_BYTES_MAX);
    for (size_t i = 0; i < bytes; i++) {
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return err_set(err, EINVAL, "a control character (byte %zu of the line)", i + 1);
    }
    return 0;
}

static int line_read(struct reader *reader, char *line, size_t bytes, struct err *err)
{
    int rc = line_check(line, bytes, err);

    if (rc < 0)
        return rc;
    line = trimmed(line);
    if (*line == '\0' || *line == '#' || *line == ';')
        return 0;
    return *line == '[' ? head_read(reader, line, err) : key_read(reader, line, err);
}

int ini_parse(char *text, size_t bytes, const char *file, ini_item_fn fn, void *data,
              struct err *err)
{
    struct reader reader = { .fn = fn, .data = data };
    char *end = text + bytes;

    for (char *line = text; line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *line_end = newline ? newline : end;
        /* Written on another system. */
        char *text_end = line_end > line && line_end[-1] == '\r' ? line_end - 1 : line_end;

        *text_end = '\0';
        reader.item.line++;
        int rc = line_read(&reader, line, (size_t)(text_end - line), err);
        if (rc < 0) {
            err_wrap(err, "%s:%u", file, reader.item.line);
            return rc;
        }
        line = line_end + 1;
    }
    return 0;
}

bool ini_parse_flag(const char *text, bool *ret_flag)
{
    static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" } };

    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        for (unsigned flag = 0; flag < 2; flag++) {
            if (strcmp(text, words[i][flag]) == 0) {
                *ret_flag = flag;
                return true;
            }
        }
    }
    return false;
}
