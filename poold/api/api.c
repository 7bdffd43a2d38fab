/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the route table of the API and the rights that each route needs. */
#include "api/api.h"

#include "base/util.h"
#include "vms/pool_keys.h"

const struct route api_routes[] = {
    /* The path that is asked for most comes first. */
    { "POST", "/v1/leases", RIGHT_ACQUIRE, api_leases_acquire, .json = &api_acquire_table },
    { "GET", "/v1/leases", RIGHT_ACQUIRE, api_leases_list, .query = "label" },
    { "DELETE", "/v1/leases", RIGHT_ACQUIRE, api_leases_release_all },
    { "DELETE", "/v1/leases/{}", RIGHT_ACQUIRE, api_lease_release },
    { "GET", "/v1/leases/{}", RIGHT_ACQUIRE, api_lease_show },
    { "POST", "/v1/leases/{}/renew", RIGHT_ACQUIRE, api_lease_renew, .json = &api_renew_table },
    { "GET", "/v1/leases/{}/config", RIGHT_ACQUIRE, api_lease_config },
    { "POST", "/v1/leases/{}/vsock", RIGHT_ACQUIRE, api_lease_vsock, .query = "port" },
    { "POST", "/v1/leases/{}/console", RIGHT_ACQUIRE, api_lease_console },
    { "GET", "/v1/leases/{}/console", RIGHT_ACQUIRE, api_lease_console_text },
    { "GET", "/v1/pools", RIGHT_ACQUIRE, api_pools_list },
    { "POST", "/v1/pools", RIGHT_ADMIN, api_pools_create, .json = &pool_body_table },
    { "GET", "/v1/pools/{}", RIGHT_ACQUIRE, api_pool_show },
    { "PATCH", "/v1/pools/{}", RIGHT_ADMIN, api_pool_patch, .json = &pool_limit_table },
    { "DELETE", "/v1/pools/{}", RIGHT_ADMIN, api_pool_delete, .query = "force" },
    { "POST", "/v1/pools/{}/replace", RIGHT_ADMIN, api_pool_replace, .json = &pool_replace_table },
    { "POST", "/v1/pools/{}/drain", RIGHT_ADMIN, api_pool_drain },
    { "POST", "/v1/pools/{}/undrain", RIGHT_ADMIN, api_pool_undrain },
    { "POST", "/v1/pools/{}/retry", RIGHT_ADMIN, api_pool_retry },
    { "POST", "/v1/functions/{}/invoke", RIGHT_ACQUIRE, api_function_invoke,
      .body = &api_invoke_body, .query = "method path" },
    { "POST", "/2015-03-31/functions/{}/invocations", RIGHT_ACQUIRE, api_lambda_invoke,
      .body = &api_lambda_body, .query = "Qualifier" },
    { "GET", "/v1/functions/{}/logs", RIGHT_ACQUIRE, api_function_logs, .query = "invocation" },
    { "GET", "/v1/functions", RIGHT_ACQUIRE, api_functions_list },
    { "POST", "/v1/functions", RIGHT_ADMIN, api_functions_create },
    { "GET", "/v1/functions/{}", RIGHT_ACQUIRE, api_function_show },
    { "DELETE", "/v1/functions/{}", RIGHT_ADMIN, api_function_delete, .query = "force" },
    { "GET", "/v1/snapshots", RIGHT_ADMIN, api_snapshots_list },
    { "GET", "/v1/snapshots/{}", RIGHT_ADMIN, api_snapshot_show },
    { "POST", "/v1/snapshots/{}/verify", RIGHT_ADMIN, api_snapshot_verify },
    { "GET", "/v1/images", RIGHT_ADMIN, api_images_list },
    { "POST", "/v1/images/{}", RIGHT_ADMIN, api_image_import, .body = &api_image_body,
      .query = "config_bytes" },
    { "GET", "/v1/images/{}", RIGHT_ADMIN, api_image_show },
    { "DELETE", "/v1/images/{}", RIGHT_ADMIN, api_image_delete },
    { "POST", "/v1/images/{}/verify", RIGHT_ADMIN, api_image_verify },
    { "GET", "/v1/version", 0, api_version },
    { "GET", "/v1/status", 0, api_status },
    { "GET", "/v1/events", RIGHT_ACQUIRE, api_events, .query = "since" },
    { "POST", "/v1/reload", RIGHT_ADMIN, api_reload },
    { "POST", "/v1/shutdown", RIGHT_ADMIN, api_shutdown, .json = &api_shutdown_table },
    { "GET", "/metrics", RIGHT_METRICS, api_metrics },
};
const size_t api_route_count = ARRAY_LEN(api_routes);
