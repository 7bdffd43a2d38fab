/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned tables and lists of fields, made from JSON by a table of columns. */
#ifndef VOLT_CLI_TABLE_H
#define VOLT_CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>

enum table_format {
    TABLE_TEXT,   /* a string, left-aligned */
    TABLE_ID,     /* the first 12 digits of a long one: enough for people */
    TABLE_PAIRS,  /* an object of strings: "a=1,b=2" */
    TABLE_NUMBER, /* an integer, right-aligned as are all that follow */
    TABLE_BYTES,  /* bytes: "128 MiB" */
    TABLE_MS,     /* milliseconds: "950 ms", "11.0 s", "5 min" */
    TABLE_US,     /* microseconds: "58 us", "1.20 ms" */
    TABLE_FORMAT_COUNT,
};

struct table_column {
    const char *title;
    const char *key; /* of the JSON object; "a.b" looks into a nested one */
    enum table_format format;
};

#define TABLE_CELL_BYTES 256

/* Writes the member as text: "-" when it is missing, null or of another type. Control characters
 * are shown as '?', so that what comes from a guest cannot drive the terminal. */
void table_cell(json_t *object, const struct table_column *column, char ret_text[TABLE_CELL_BYTES]);

/* Prints a header and one line for each object of the array. */
void table_print(json_t *array, const struct table_column *columns, size_t column_count);

/* Prints one object as lines "title  value". */
void table_print_fields(json_t *object, const struct table_column *columns, size_t column_count);

#endif
