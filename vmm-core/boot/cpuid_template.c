/* SPDX-License-Identifier: Apache-2.0 */
/* Owns reading CPU templates from JSON; see cpuid.h for the format. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/util.h"
#include "boot/cpuid.h"

static const char *const register_names[] = { "eax", "ebx", "ecx", "edx" };
_Static_assert(ARRAY_LEN(register_names) == CPUID_REG_COUNT, "a name for each register");

/* A 32-bit number: a JSON integer, or a string as C writes it ("0x7"). */
static int parse_number(const json_t *object, const char *key, uint32_t *ret_value, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    char *end;

    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) <= UINT32_MAX) {
        *ret_value = (uint32_t)json_integer_value(value);
        return 0;
    }
    if (text && *text >= '0' && *text <= '9') {
        errno = 0;
        unsigned long long number = strtoull(text, &end, 0);
        if (errno == 0 && *end == '\0' && number <= UINT32_MAX) {
            *ret_value = (uint32_t)number;
            return 0;
        }
    }
    return err_set(err, EINVAL, "\"%s\" must be a number from 0 to 0xffffffff", key);
}

static int parse_register(const json_t *object, enum cpuid_reg *ret_reg, struct err *err)
{
    const char *name = json_string_value(json_object_get(object, "register"));

    for (unsigned i = 0; name && i < ARRAY_LEN(register_names); i++) {
        if (strcmp(name, register_names[i]) == 0) {
            *ret_reg = (enum cpuid_reg)i;
            return 0;
        }
    }
    return err_set(err, EINVAL, "\"register\" must be eax, ebx, ecx or edx");
}

static int check_keys(const json_t *object, const char *const *allowed, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        unsigned i = 0;

        while (allowed[i] && strcmp(allowed[i], key) != 0)
            i++;
        if (!allowed[i])
            return err_set(err, EINVAL, "unknown key \"%s\"", key);
    }
    return 0;
}

static int parse_entry(const json_t *object, struct cpuid_template *template, struct err *err)
{
    static const char *const keys[] = { "leaf", "subleaf", "register", "keep", NULL };
    __auto_type entry = &template->entry[template->count];

    if (!json_is_object(object))
        return err_set(err, EINVAL, "it must be an object");
    int rc = check_keys(object, keys, err);
    if (rc == 0)
        rc = parse_number(object, "leaf", &entry->leaf, err);
    if (rc == 0 && json_object_get(object, "subleaf"))
        rc = parse_number(object, "subleaf", &entry->subleaf, err);
    if (rc == 0)
        rc = parse_register(object, &entry->reg, err);
    if (rc == 0)
        rc = parse_number(object, "keep", &entry->keep, err);
    if (rc == 0)
        template->count++;
    return rc;
}

static int parse_root(const json_t *root, struct cpuid_template *template, struct err *err)
{
    static const char *const keys[] = { "name", "registers", NULL };
    const char *name = json_string_value(json_object_get(root, "name"));
    const json_t *registers = json_object_get(root, "registers");

    if (!json_is_object(root))
        return err_set(err, EINVAL, "CPU template: it must be a JSON object");
    if (check_keys(root, keys, err) < 0)
        return err_wrap(err, "CPU template");
    if (!name || !*name || strlen(name) >= sizeof template->name)
        return err_set(err, EINVAL, "CPU template: \"name\" must be a string of 1 to %zu bytes",
                       sizeof template->name - 1);
    if (!json_is_array(registers) || json_array_size(registers) > CPUID_TEMPLATE_ENTRIES_MAX)
        return err_set(err, EINVAL,
                       "CPU template '%s': \"registers\" must be an array of at most %u objects",
                       name, CPUID_TEMPLATE_ENTRIES_MAX);
    memcpy(template->name, name, strlen(name) + 1);
    for (size_t i = 0; i < json_array_size(registers); i++)
        if (parse_entry(json_array_get(registers, i), template, err) < 0)
            return err_wrap(err, "CPU template '%s', registers[%zu]", name, i);
    return 0;
}

int cpuid_template_parse(const char *text, size_t bytes, struct cpuid_template *ret_template,
                         struct err *err)
{
    struct cpuid_template template = { 0 };
    struct err local = { 0 };
    json_error_t error;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);

    if (!err)
        err = &local; /* err_wrap needs the code */
    if (!root)
        return err_set(err, EINVAL, "CPU template: line %d, column %d: %s", error.line,
                       error.column, error.text);
    int rc = parse_root(root, &template, err);
    json_decref(root);
    if (rc == 0)
        *ret_template = template;
    return rc;
}
