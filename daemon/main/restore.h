/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what an earlier daemon has left to books that are as they were: the record, and the fds
 * that were kept. Nothing is believed before it has been checked; what does not check out is put
 * in quarantine, is named in the log, and keeps nothing else from coming back.
 */
#ifndef GM_RESTORE_H
#define GM_RESTORE_H

#include "record.h"
#include "service.h"
#include "service_manager.h"

struct gm_restore {
	struct gm_record *record;
	struct gm_exec *exec;
	struct gm_service *service;
	const struct gm_policy *policy; /* of tenants that have no socket any more */
	struct gm_stored *stored;	/* fds are taken out as they find their place */
	size_t n_stored;
	uint64_t now_ms;
	bool (*is_gone)(pid_t pid); /* the process, for certain; NULL: nobody can tell */

	/* Results. */
	unsigned n_sessions;
	unsigned n_domains;
	unsigned n_regions;
	unsigned n_quarantined; /* domains and regions */
	unsigned n_damaged;	/* records */
};

/*
 * Fills the books. 0 or -errno. What is left in @stored afterwards has no place and has been
 * removed from the fd store: the caller closes it.
 */
GM_WARN_UNUSED int gm_restore_run(struct gm_restore *restore);

#endif
