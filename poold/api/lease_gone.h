/* SPDX-License-Identifier: Apache-2.0 */
/* What is answered of leases that are no more. Loop thread only. */
#ifndef VOLT_POOLD_LEASE_GONE_H
#define VOLT_POOLD_LEASE_GONE_H

#include "api/api.h"

/* 410, with how it ended. */
void lease_gone_reply(struct http_request *request, const struct history_event *ended);
/* There is no lease request->param: 410 if there was one of its client's, else 404. */
void lease_missing_reply(struct http_request *request);

#endif
