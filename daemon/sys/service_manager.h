/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's side of life: inherited sockets, readiness, watchdog. The only user of
 * libsystemd beside the log.
 */
#ifndef GM_SERVICE_MANAGER_H
#define GM_SERVICE_MANAGER_H

#include "gm_num.h"

#define GM_INHERITED_MAX 256

struct gm_inherited {
	int fd;		/* close-on-exec set */
	char name[256]; /* FileDescriptorName=: the name character set and '@' */
};

/*
 * Reads LISTEN_FDS, LISTEN_FDNAMES and clears them from the environment. Order means nothing
 * (systemd 252 does not keep it): go by name. Returns the count or -errno.
 */
GM_WARN_UNUSED int gm_inherited_sockets(struct gm_inherited *inherited, size_t max);

void gm_notify_ready(void);
void gm_notify_stopping(void);
void gm_notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void gm_notify_watchdog(void);

/* Half the watchdog interval in ms; 0: no watchdog asked for. */
uint64_t gm_watchdog_interval_ms(void);

#endif
