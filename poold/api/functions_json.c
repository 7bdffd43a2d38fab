/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the objects of functions; see functions_json.h. */
#include "api/functions_json.h"

#include "base/json_text.h"
#include "functions/function_keep.h"

static json_t *results_json(const struct function *function)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < INVOCATION_RESULT_COUNT; i++)
        json_object_set_new(object, invocation_result_name((enum invocation_result)i),
                            json_integer((json_int_t)function->results[i]));
    return object;
}

json_t *function_json(const struct function *function, bool all)
{
    const struct hosted_pool *hosted = hosted_find(function->functions->vms, function->name);
    json_t *object = json_pack("{s:o, s:o, s:o, s:i, s:i, s:o}", "name", json_text(function->name),
                               "created", json_text(function->created), "state",
                               json_text(hosted ? pool_state_name(hosted->pool.state) : "no pool"),
                               "queued", (int)function->queued_count, "on", (int)function->on_count,
                               "results", results_json(function));

    json_object_update_new(object, function_spec_json(&function->spec));
    if (!all || !hosted)
        return object;
    json_object_set_new(object, "error", json_text_or_null(hosted->pool.error));
    json_object_set_new(object, "handler", json_text(hosted->spec.service));
    json_object_set_new(object, "port",
                        hosted->spec.service_port ? json_integer(hosted->spec.service_port)
                                                  : json_null());
    json_object_set_new(object, "image", json_text_or_null(hosted->spec.image));
    json_object_set_new(object, "memory_bytes",
                        json_integer((json_int_t)hosted->spec.memory_bytes));
    json_object_set_new(object, "min", json_integer(hosted->pool.min));
    json_object_set_new(object, "max", json_integer(hosted->pool.max));
    json_object_set_new(object, "parked", json_integer(hosted->pool.counts[SLOT_PARKED]));
    return object;
}
