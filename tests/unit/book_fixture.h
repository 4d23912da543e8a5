/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for tests of the book: two tenants with one session each, made in short words.
 * host_done() takes everything away in order; gm_book_done() then asserts that the books are zero.
 */
#ifndef BOOK_FIXTURE_H
#define BOOK_FIXTURE_H

#include <errno.h>
#include <string.h>

#include "book.h"
#include "gm_test.h"

#define HOST_MEMORY (64 * GM_GIB)

struct host {
	struct gm_book book;
	struct gm_tenant *acme;
	struct gm_tenant *other;
	struct gm_session *session;  /* of acme */
	struct gm_session *stranger; /* of other */
	struct gm_session *admin;
	uint64_t next_id;
	struct gm_refusal refusal; /* of the last call that was refused */
};

static inline struct gm_session *host_session(struct host *host, struct gm_tenant *tenant)
{
	const struct gm_peer peer = { .pid = 100, .uid = 65534, .gid = 65534 };
	const struct gm_session_id id = { ++host->next_id };
	struct gm_session *session = NULL;

	assert_int_equal(
		gm_book_open_session(&host->book, tenant, id, &peer, &session, &host->refusal), 0);
	return session;
}

static inline void host_init(struct host *host)
{
	struct gm_policy policy;

	*host = (struct host){ .next_id = 0x1000 };
	gm_policy_defaults(&policy, HOST_MEMORY);
	gm_book_init(&host->book);
	assert_int_equal(gm_book_add_tenant(&host->book, "acme", &policy, &host->acme, NULL), 0);
	assert_int_equal(gm_book_add_tenant(&host->book, "other", &policy, &host->other, NULL), 0);
	host->session = host_session(host, host->acme);
	host->stranger = host_session(host, host->other);
	host->admin = host_session(host, NULL);
}

static inline void host_remove_domain(struct host *host, struct gm_domain *domain)
{
	while (domain->n_regions > 0)
		gm_book_remove_region(&host->book, domain->regions[domain->n_regions - 1]);
	gm_book_remove_domain(&host->book, domain);
}

static inline void host_clear_tenant(struct host *host, struct gm_tenant *tenant)
{
	while (!TAILQ_EMPTY(&tenant->domains))
		host_remove_domain(host, TAILQ_FIRST(&tenant->domains));
	while (!TAILQ_EMPTY(&tenant->sessions))
		gm_book_close_session(&host->book, TAILQ_FIRST(&tenant->sessions));
}

static inline void host_done(struct host *host)
{
	host_clear_tenant(host, host->acme);
	host_clear_tenant(host, host->other);
	while (!TAILQ_EMPTY(&host->book.admin_sessions))
		gm_book_close_session(&host->book, TAILQ_FIRST(&host->book.admin_sessions));
	gm_book_done(&host->book);
}

/* The token of every domain is its id, repeated. */
static inline struct gm_token host_token(uint64_t id)
{
	struct gm_token token;

	for (size_t i = 0; i < sizeof(token.bytes); i += sizeof(id))
		memcpy(token.bytes + i, &id, sizeof(id));
	return token;
}

static inline int host_try_domain(struct host *host, struct gm_session *session, const char *name,
				  enum gm_lifetime lifetime, struct gm_domain **ret_domain)
{
	const struct gm_domain_spec spec = { .name = name, .kind = "memfd", .lifetime = lifetime };
	const struct gm_domain_id id = { ++host->next_id };
	const struct gm_token token = host_token(id.v);

	return gm_book_create_domain(&host->book, session, &spec, id, &token, /* now_ms= */ 1000,
				     ret_domain, &host->refusal);
}

static inline struct gm_domain *host_domain(struct host *host, struct gm_session *session)
{
	struct gm_domain *domain = NULL;

	assert_int_equal(host_try_domain(host, session, "", GM_LIFETIME_PERSISTENT, &domain), 0);
	return domain;
}

static inline int host_try_region(struct host *host, struct gm_domain *domain,
				  const struct gm_region_spec *spec, struct gm_region **ret_region)
{
	const struct gm_region_id id = { ++host->next_id };

	return gm_book_create_region(&host->book, domain, spec, id, ret_region, &host->refusal);
}

/* A guest with private memory, of the first session. */
static inline struct gm_domain *host_private_domain(struct host *host, unsigned traits)
{
	const struct gm_domain_spec spec = {
		.name = "", .kind = "private", .lifetime = GM_LIFETIME_BOUND, .traits = traits
	};
	const struct gm_domain_id id = { 0x99 };
	const struct gm_token token = host_token(id.v);
	struct gm_domain *domain = NULL;

	assert_int_equal(gm_book_create_domain(&host->book, host->session, &spec, id, &token, 1000,
					       &domain, NULL),
			 0);
	return domain;
}

/* 4 KiB pages. */
static inline struct gm_region *host_region(struct host *host, struct gm_domain *domain,
					    uint64_t gpa, uint64_t size)
{
	const struct gm_region_spec spec = {
		.name = "",
		.gpa = gpa,
		.size = size,
		.page_size = GM_PAGE_4K,
	};
	struct gm_region *region = NULL;

	assert_int_equal(host_try_region(host, domain, &spec, &region), 0);
	return region;
}

static inline uint64_t host_used(const struct host *host, enum gm_resource resource)
{
	return host->book.host.used[resource];
}

#endif
