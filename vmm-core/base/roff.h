/* SPDX-License-Identifier: Apache-2.0 */
/* Writes manual pages (man(7)) of plain text: what stands in a program's tables can be given as it
 * is, as everything that means something to roff is escaped. For programs that run in the build. */
#ifndef VOLT_BASE_ROFF_H
#define VOLT_BASE_ROFF_H

#include <stdio.h>

/* The head: `poold`, 8, "keeps pools of running VMs". */
void roff_begin(FILE *out, const char *name, int section, const char *summary);
void roff_section(FILE *out, const char *title);
void roff_subsection(FILE *out, const char *title);
/* A paragraph; lines are joined. */
void roff_text(FILE *out, const char *text);
/* An entry of a list: "--socket PATH", and what it is. */
void roff_item(FILE *out, const char *term, const char *text);
/* Lines as they are: commands, files. */
void roff_lines(FILE *out, const char *text);
/* Other pages, at the end: "voltctl(1), poold.conf(5)". */
void roff_see_also(FILE *out, const char *pages);

#endif
