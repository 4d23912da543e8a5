/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the book share with one another and with nobody else.
 */
#ifndef GM_BOOK_PRIVATE_H
#define GM_BOOK_PRIVATE_H

#include "book.h"

/* Room for the name of an object in a refusal. */
struct gm_object_name {
	char text[GM_OBJECT_MAX];
};

/* "domain 0123456789abcdef" */
struct gm_object_name gm_book_object(const char *what, uint64_t id);

/* 0, or GM_SHUTTING_DOWN while the daemon drains. */
GM_WARN_UNUSED int gm_book_check_draining(const struct gm_book *book, struct gm_refusal *refusal);

/*
 * The node of an object that the session may see by its tenant; for an admin session, of any
 * tenant. NULL when it is not there.
 */
struct gm_hash_node *gm_book_lookup(const struct gm_book *book, struct gm_hash_node *table,
				    const struct gm_session *session, uint64_t id);

/* 0, or GM_BUSY when @domain is not attached to @session. */
GM_WARN_UNUSED int gm_book_check_attached(const struct gm_domain *domain,
					  const struct gm_session *session,
					  struct gm_refusal *refusal);

#endif
