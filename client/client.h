/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind the handles of gmem.h, and the table that tells a daemon's memory from memory
 * made in this process.
 *
 * A public function checks its arguments, clears the error, and asks the client's provider. A
 * provider returns 0 or a negative gmem_status, and has then set the client's failure. Whatever a
 * provider waits for may call the program back, and the program may destroy handles there: after
 * a wait, a handle is looked up again before it is used.
 */
#ifndef GM_CLIENT_H
#define GM_CLIENT_H

#include <stdbool.h>

#include "failure.h"
#include "gm_token.h"
#include "gm_version.h"
#include "gmem.h"
#include "launch_steps.h"

struct gm_builtin;
struct gm_builtin_memory;
struct gm_remote;

enum gm_job_kind {
	GM_JOB_ALLOCATE,
	GM_JOB_DISCARD,
};

typedef int (*gm_domain_info_fn)(void *arg, const struct gmem_domain_info *info);
typedef int (*gm_region_info_fn)(void *arg, const struct gmem_region_info *info);
typedef int (*gm_session_info_fn)(void *arg, const struct gmem_session_info *info);
typedef int (*gm_account_info_fn)(void *arg, const struct gmem_account_info *info);
typedef int (*gm_metrics_fn)(void *arg, const struct gmem_metrics *metrics);
typedef int (*gm_page_run_fn)(void *arg, const struct gmem_page_run *run);
typedef int (*gm_policy_row_fn)(void *arg, const struct gmem_policy_row *row);

struct gm_provider {
	/* Ends everything; the handles are freed by the caller afterwards. */
	void (*close)(struct gmem_client *client);
	int (*fd)(const struct gmem_client *client);
	int (*dispatch)(struct gmem_client *client);
	int (*ping)(struct gmem_client *client);

	/* Fill @domain, which is not yet known to the client. Regions are added by attach itself.
	 */
	int (*domain_create)(struct gmem_client *client, const struct gmem_domain_spec *spec,
			     struct gmem_domain *domain);
	int (*domain_attach)(struct gmem_client *client, uint64_t id,
			     const uint8_t token[GMEM_TOKEN_SIZE], uint32_t flags, uint32_t devices,
			     struct gmem_domain *domain);
	/* The handles are gone already: only the id is left. */
	int (*domain_destroy)(struct gmem_client *client, uint64_t id);
	int (*domain_destroy_id)(struct gmem_client *client, uint64_t id,
				 const uint8_t token[GMEM_TOKEN_SIZE]);
	int (*domain_set_memlock)(struct gmem_client *client, uint64_t id, uint64_t bytes,
				  uint64_t *ret_limit);

	/* Fills @region, which is not yet in its domain's list. */
	int (*region_create)(struct gmem_client *client, struct gmem_domain *domain,
			     const struct gmem_region_spec *spec, struct gmem_region *region);
	int (*region_destroy)(struct gmem_client *client, uint64_t id);
	/* The shared half is mapped. */
	int (*region_bind)(struct gmem_region *region, uint32_t slot);
	/* Ranges are at least one. */
	int (*region_convert)(struct gmem_region *region, const struct gmem_range *ranges,
			      size_t n_ranges, bool to_private);

	int (*launch_start)(struct gmem_domain *domain, const void *parameters, size_t size);
	/* Fills @source, which has its fd, and is not yet in its domain's list. */
	int (*source_add)(struct gmem_domain *domain, struct gmem_source *source);
	/* Lengths are right, and a source is the domain's. */
	int (*region_populate)(struct gmem_region *region, const struct gmem_population *what);
	int (*launch_finish)(struct gmem_domain *domain, const struct gmem_launch_end *end);
	int (*launch_abort)(struct gmem_domain *domain);

	/* Ranges are at least one. */
	int (*job_run)(struct gmem_region *region, enum gm_job_kind kind,
		       const struct gmem_range *ranges, size_t n_ranges, gmem_progress_fn progress,
		       void *arg);
	int (*job_start)(struct gmem_region *region, enum gm_job_kind kind,
			 const struct gmem_range *ranges, size_t n_ranges,
			 const struct gmem_job_callbacks *callbacks);

	int (*list_domains)(struct gmem_client *client, gm_domain_info_fn fn, void *arg);
	int (*list_regions)(struct gmem_client *client, uint64_t domain, gm_region_info_fn fn,
			    void *arg);
	int (*list_sessions)(struct gmem_client *client, gm_session_info_fn fn, void *arg);
	int (*list_accounts)(struct gmem_client *client, gm_account_info_fn fn, void *arg);
	int (*list_metrics)(struct gmem_client *client, const char *tenant, gm_metrics_fn fn,
			    void *arg);
	int (*watch)(struct gmem_client *client);
	int (*get_domain)(struct gmem_client *client, uint64_t id,
			  struct gmem_domain_info *ret_info);
	int (*get_region)(struct gmem_client *client, uint64_t id,
			  struct gmem_region_info *ret_info);
	int (*get_daemon)(struct gmem_client *client, struct gmem_daemon_info *ret_info);
	int (*get_host)(struct gmem_client *client, struct gmem_host_info *ret_info);
	int (*get_page_map)(struct gmem_client *client, uint64_t region, gm_page_run_fn fn,
			    void *arg);
	int (*evict)(struct gmem_client *client, uint64_t domain, uint64_t *ret_bytes);
	int (*list_policy)(struct gmem_client *client, const char *tenant, gm_policy_row_fn fn,
			   void *arg);
	int (*check_policy)(struct gmem_client *client, const char *tenant, char *ret_fault,
			    size_t size);
};

extern const struct gm_provider gm_remote_provider;
extern const struct gm_provider gm_builtin_provider;

struct gmem_client {
	const struct gm_provider *provider;
	struct gm_remote *remote;   /* or NULL */
	struct gm_builtin *builtin; /* or NULL */
	int timeout_ms;		    /* -1: none */
	int admin;
	char tenant[65];
	gmem_event_fn event;
	void *event_arg;
	gmem_news_fn news; /* NULL: nobody watches */
	void *news_arg;
	struct gmem_domain *domains; /* in order of creation */
	struct gm_failure failure;
	struct gmem_error error; /* what gmem_error shows: points into @failure */
};

/* How far a domain has come on its way back, into the same session or a new one. */
enum gm_return {
	GM_RETURN_NONE = 0,
	GM_RETURN_DOUBTED,  /* in the same session: is it still attached? */
	GM_RETURN_WANTED,   /* to be attached */
	GM_RETURN_ASKED,    /* the daemon was asked to */
	GM_RETURN_ATTACHED, /* now its regions are compared */
};

struct gmem_domain {
	struct gmem_client *client;
	struct gmem_domain *next; /* gmem_client::domains */
	struct gmem_region *regions;
	uint64_t id;
	struct gm_token token;
	bool persistent;
	bool gone;	     /* not attached to this session any more; told, or about to be */
	enum gmem_loss loss; /* to be told; 0: none */
	enum gm_return step;
	int kvm_fd;    /* -1: not asked for */
	int vm_fd;     /* the program's; -1: none adopted */
	int device_fd; /* of the platform, while the launch lasts; -1: none */
	int vcpu_fd;   /* the program's, to populate by; -1: none */
	struct gmem_source *sources;
	char kind[33];
	char name[65];
	uint64_t created_ms;
};

struct gmem_source {
	struct gmem_source *next; /* gmem_domain::sources */
	uint64_t id;		  /* another after the daemon has forgotten it */
	uint64_t size;
	int fd; /* the sealed memfd, to be handed in again */
};

/* The daemon's leave to convert first and report then. See remote_standing.c. */
struct gm_standing {
	uint64_t id;	/* 0: there is none */
	bool over;	/* a report was refused */
	uint64_t limit; /* bytes that may be made shared, in all */
	uint64_t used;	/* and were */
	uint64_t granularity;
	uint32_t reports_max;
	size_t conversions_max;
	uint64_t last;	 /* number of the last report */
	size_t n_unsent; /* conversions that are in no report yet */
	uint64_t unsent[2 * GM_CONVERSIONS_MAX];
};

struct gmem_region {
	struct gmem_domain *domain;
	struct gmem_region *next; /* gmem_domain::regions, lowest address first */
	uint64_t id;
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;
	bool unchecked; /* in a new session: its memory has not been compared */
	int fd;
	int private_fd; /* -1: of a kind without private memory */
	bool in_place;	/* both are one guest_memfd, which the daemon converts */
	bool bound;	/* the VM has it, in this memslot: */
	uint32_t slot;
	struct gm_standing standing;
	void *address;			   /* NULL: not mapped */
	struct gm_builtin_memory *builtin; /* or NULL */
};

/* NULL when out of memory, with the client's failure set. */
struct gmem_domain *gm_domain_new(struct gmem_client *client);
struct gmem_region *gm_region_new(struct gmem_client *client);

/* Free the handle and what hangs on it; they must be in no list. Accept NULL. */
void gm_domain_free(struct gmem_domain *domain);
void gm_region_free(struct gmem_region *region);

/* The launch is over: its device and its sources are of no more use. */
void gm_domain_end_launch(struct gmem_domain *domain);
void gm_source_free(struct gmem_source *source);
/* @source, if it is one of the domain's; or NULL. */
struct gmem_source *gm_domain_find_source(const struct gmem_domain *domain,
					  const struct gmem_source *source);

/* Gives the region, which is mapped, to its domain's VM. 0, or -errno with no effect. */
GM_WARN_UNUSED int gm_region_bind(struct gmem_region *region, uint32_t slot);
/* Takes it out again, if it is there. */
void gm_region_unbind(struct gmem_region *region);

void gm_client_add_domain(struct gmem_client *client, struct gmem_domain *domain);
void gm_client_remove_domain(struct gmem_client *client, struct gmem_domain *domain);

/* The handle of a domain, or NULL. */
struct gmem_domain *gm_client_find_domain(const struct gmem_client *client, uint64_t id);
struct gmem_region *gm_client_find_region(const struct gmem_client *client, uint64_t id);

void gm_domain_add_region(struct gmem_domain *domain, struct gmem_region *region);
void gm_domain_remove_region(struct gmem_domain *domain, struct gmem_region *region);

/* Calls the program's event function, if it has one. */
void gm_client_tell(struct gmem_client *client, int type, struct gmem_domain *domain,
		    uint64_t value);

/* Whether @name may stand for an object on the wire. */
int gm_check_name(struct gmem_client *client, const char *name);

/* CLOCK_MONOTONIC. */
uint64_t gm_now_us(void);
uint64_t gm_now_ms(void);

#endif
