/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's side of life: inherited sockets, readiness, watchdog. The only user of
 * libsystemd beside the log.
 */
#ifndef GM_SERVICE_MANAGER_H
#define GM_SERVICE_MANAGER_H

#include "fd_store.h"
#include "gm_num.h"

/* Listening sockets: 256 units, 256 of options that a keeper has made, and the operator's. */
#define GM_INHERITED_MAX 513

struct gm_inherited {
	int fd;		/* close-on-exec set */
	char name[256]; /* FileDescriptorName=: the name character set and '@' */
};

/* An fd that comes back from the fd store. */
struct gm_stored {
	int fd; /* close-on-exec set */
	enum gm_stored_kind kind;
	uint32_t record;
};

/* Owns the arrays, and all fds that have not been taken out (set to -1). */
struct gm_inherited_fds {
	struct gm_inherited *sockets;
	size_t n_sockets;
	struct gm_stored *stored;
	size_t n_stored;
};

/*
 * Reads LISTEN_FDS, LISTEN_FDNAMES and clears them from the environment. Order means nothing
 * (systemd 252 does not keep it): go by name. A name of the fd store may come several times. 0;
 * -EINVAL for a name outside the character set, -E2BIG for more sockets than GM_INHERITED_MAX or
 * other -errno: all of them are closed then.
 */
GM_WARN_UNUSED int gm_inherited_take(struct gm_inherited_fds *ret_inherited);

/* Closes and frees what is left. */
void gm_inherited_done(struct gm_inherited_fds *inherited);

void gm_notify_ready(void);
void gm_notify_stopping(void);
void gm_notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void gm_notify_watchdog(void);

/* Half the watchdog interval in ms; 0: no watchdog asked for. */
uint64_t gm_watchdog_interval_ms(void);

#endif
