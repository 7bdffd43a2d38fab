/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the configuration again while poold runs (SIGHUP, POST /v1/reload). Loop thread only.
 *
 * How it works
 *   The files are read on the thread pool, with the command line and environment of the start, into
 *   a configuration of its own. Only when all of it is right, anything changes: settings that may
 *   (SETTING_LIVE), the policy, for connections to come, and what declared_apply does with declared pools. What takes a
 *   restart is told, a line each. One reload at a time; who asks meanwhile waits for the next. */
#ifndef VOLT_POOLD_RELOAD_H
#define VOLT_POOLD_RELOAD_H

#include "daemon.h"
#include "http/http.h"

/* Gives daemon->config's settings to what they are for: at the start, and when they have changed. */
void daemon_settings_hold(struct daemon *daemon);
struct http_limits daemon_http_limits(const struct daemon *daemon);

/* done(data, ...) is called once, later or from within; done may be NULL. */
void daemon_reload(struct daemon *daemon, reloaded_fn done, void *data);

/* Answers the reload that waits until the limits of all declared pools hold, or never will, once they
 * do: of the pump. */
void reload_go_on(struct daemon *daemon);

#endif
