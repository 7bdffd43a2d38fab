/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the escaping of text for roff; see roff.h. */
#include "base/roff.h"

#include <string.h>

#include "base/version.h"

/* Up to `bytes` of text. At the beginning of a line a dot or an apostrophe would be a request. */
static void put(FILE *out, const char *text, size_t bytes)
{
    if (bytes > 0 && (*text == '.' || *text == '\''))
        fputs("\\&", out);
    for (size_t i = 0; i < bytes; i++) {
        switch (text[i]) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        default:
            fputc(text[i], out);
        }
    }
}

static void put_lines(FILE *out, const char *text)
{
    while (*text) {
        size_t bytes = strcspn(text, "\n");

        put(out, text, bytes);
        fputc('\n', out);
        text += bytes + (text[bytes] == '\n');
    }
}

void roff_begin(FILE *out, const char *name, int section, const char *summary)
{
    fprintf(out, ".\\\" Made by the build from the program's own tables.\n.TH \"");
    put(out, name, strlen(name));
    fprintf(out, "\" %d \"\" \"Volt %s\" \"Volt\"\n.nh\n.ad l\n.SH NAME\n", section, VOLT_VERSION);
    put(out, name, strlen(name));
    fputs(" \\- ", out);
    put_lines(out, summary);
}

void roff_section(FILE *out, const char *title)
{
    fputs(".SH \"", out);
    put(out, title, strlen(title));
    fputs("\"\n", out);
}

void roff_subsection(FILE *out, const char *title)
{
    fputs(".SS \"", out);
    put(out, title, strlen(title));
    fputs("\"\n", out);
}

void roff_text(FILE *out, const char *text)
{
    fputs(".PP\n", out);
    put_lines(out, text);
}

void roff_item(FILE *out, const char *term, const char *text)
{
    fputs(".TP\n\\fB", out);
    put(out, term, strlen(term));
    fputs("\\fR\n", out);
    put_lines(out, text);
}

void roff_lines(FILE *out, const char *text)
{
    fputs(".PP\n.RS 4\n.nf\n", out);
    put_lines(out, text);
    fputs(".fi\n.RE\n", out);
}

void roff_see_also(FILE *out, const char *pages)
{
    roff_section(out, "SEE ALSO");
    roff_text(out, pages);
}
