/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the look of tables; see table.h. */
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/text.h"
#include "base/util.h"

static void bytes_format(json_int_t bytes, char *text, size_t text_bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    bool whole = unit == 0 || value == (double)(json_int_t)value;
    snprintf(text, text_bytes, "%.*f %s", whole ? 0 : 1, value, units[unit]);
}

static void ms_format(json_int_t ms, char *text, size_t text_bytes)
{
    if (ms < 1000)
        snprintf(text, text_bytes, "%" PRId64 " ms", (int64_t)ms);
    else if (ms < 120 * 1000)
        snprintf(text, text_bytes, "%.1f s", (double)ms / 1000);
    else if (ms < 120 * 60 * 1000)
        snprintf(text, text_bytes, "%" PRId64 " min", (int64_t)ms / 60000);
    else
        snprintf(text, text_bytes, "%" PRId64 " h", (int64_t)ms / 3600000);
}

static void us_format(json_int_t us, char *text, size_t text_bytes)
{
    if (us < 1000)
        snprintf(text, text_bytes, "%" PRId64 " us", (int64_t)us);
    else
        snprintf(text, text_bytes, "%.2f ms", (double)us / 1000);
}

static void number_format(json_int_t number, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%" PRId64, (int64_t)number);
}

#define TABLE_ID_DIGITS 12

static void (*const number_formats[TABLE_FORMAT_COUNT])(json_int_t, char *, size_t) = {
    [TABLE_NUMBER] = number_format,
    [TABLE_BYTES] = bytes_format,
    [TABLE_MS] = ms_format,
    [TABLE_US] = us_format,
};

static bool is_text(const struct table_column *column)
{
    return column->format == TABLE_TEXT || column->format == TABLE_ID ||
           column->format == TABLE_PAIRS;
}

/* Returns "" where there are none. */
static const char *pairs_text(json_t *object, char ret_text[TABLE_CELL_BYTES])
{
    const char *key, *comma = "";
    size_t used = 0;
    json_t *value;

    ret_text[0] = '\0';
    json_object_foreach(object, key, value)
    {
        int n = snprintf(ret_text + used, TABLE_CELL_BYTES - used, "%s%s=%s", comma, key,
                         json_is_string(value) ? json_string_value(value) : "?");

        if (n < 0 || (size_t)n >= TABLE_CELL_BYTES - used)
            break;
        used += (size_t)n;
        comma = ",";
    }
    return ret_text;
}

void table_cell(json_t *object, const struct table_column *column, char ret_text[TABLE_CELL_BYTES])
{
    if (is_text(column)) {
        char pairs[TABLE_CELL_BYTES];
        const char *found = column->format == TABLE_PAIRS
                                ? pairs_text(json_object_get(object, column->key), pairs)
                                : api_text_of(object, column->key);
        int shown = column->format == TABLE_ID ? TABLE_ID_DIGITS : TABLE_CELL_BYTES - 1;

        text_clean(ret_text, TABLE_CELL_BYTES, *found ? found : "-", shown);
        return;
    }
    json_int_t number = api_number_of(object, column->key);
    if (number < 0)
        strcpy(ret_text, "-");
    else
        number_formats[column->format](number, ret_text, TABLE_CELL_BYTES);
}

static void cell_print(const char *text, const struct table_column *column, size_t width, bool last)
{
    if (!is_text(column))
        printf("%*s%s", (int)width, text, last ? "" : "  ");
    else if (last)
        printf("%s", text);
    else
        printf("%-*s  ", (int)width, text);
}

void table_print(json_t *array, const struct table_column *columns, size_t column_count)
{
    size_t widths[16] = { 0 };
    char text[TABLE_CELL_BYTES];
    json_t *object;
    size_t row;

    column_count = MIN_OF(column_count, ARRAY_LEN(widths));
    for (size_t i = 0; i < column_count; i++) {
        widths[i] = strlen(columns[i].title);
        json_array_foreach(array, row, object)
        {
            table_cell(object, &columns[i], text);
            widths[i] = MAX_OF(widths[i], strlen(text));
        }
    }
    for (size_t i = 0; i < column_count; i++)
        cell_print(columns[i].title, &columns[i], widths[i], i + 1 == column_count);
    putchar('\n');
    json_array_foreach(array, row, object)
    {
        for (size_t i = 0; i < column_count; i++) {
            table_cell(object, &columns[i], text);
            cell_print(text, &columns[i], widths[i], i + 1 == column_count);
        }
        putchar('\n');
    }
}

void table_print_fields(json_t *object, const struct table_column *columns, size_t column_count)
{
    size_t width = 0;
    char text[TABLE_CELL_BYTES];

    for (size_t i = 0; i < column_count; i++)
        width = MAX_OF(width, strlen(columns[i].title));
    for (size_t i = 0; i < column_count; i++) {
        table_cell(object, &columns[i], text);
        printf("%-*s  %s\n", (int)width, columns[i].title, text);
    }
}
