/* SPDX-License-Identifier: Apache-2.0 */
/* What the build makes of voltctl's tables: a manual page and the completion of shells. */
#ifndef VOLT_CLI_DOC_H
#define VOLT_CLI_DOC_H

/* To stdout. */
void doc_man(void);
void doc_bash(void);
void doc_zsh(void);
void doc_fish(void);

/* Calls options_describe for every command. */
void doc_describe_all(void);

#endif
