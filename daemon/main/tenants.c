/* SPDX-License-Identifier: Apache-2.0 */
#include "tenants.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gm_check.h"
#include "gm_fd.h"

#define GM_ADMIN_MODE 0600
#define GM_OPERATOR_NAME "admin"

static struct gm_party *party_by_name(struct gm_tenants *tenants, const char *name)
{
	for (unsigned i = 0; i < tenants->n_parties; i++)
		if (strcmp(tenants->parties[i].name, name) == 0)
			return &tenants->parties[i];
	return NULL;
}

static struct gm_party *party_get(struct gm_tenants *tenants, const char *name)
{
	struct gm_party *party = party_by_name(tenants, name);

	if (party || tenants->n_parties == GM_PARTIES_MAX)
		return party;
	party = &tenants->parties[tenants->n_parties++];
	snprintf(party->name, sizeof(party->name), "%s", name);
	party->is_operator = strcmp(name, GM_OPERATOR_NAME) == 0;
	return party;
}

static int door_add(struct gm_tenants *tenants, const char *name, const char *path, int fd,
		    char *ret_fault)
{
	struct gm_party *party = party_get(tenants, name);
	struct gm_door *door = &tenants->doors[tenants->n_doors];

	if (!party || tenants->n_doors == GM_DOORS_MAX) {
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX, "more than %d tenants or %d sockets",
			 GM_PARTIES_MAX - 1, GM_DOORS_MAX);
		return -EINVAL;
	}
	tenants->n_doors++;
	*door = (struct gm_door){ .party = party, .path = path, .fd = fd };
	return 0;
}

/*
 * systemd names a socket after its unit unless the unit says FileDescriptorName=: the instance of
 * gmemd@NAME.socket is the tenant.
 */
static bool inherited_name(const char *name, char ret_name[GM_NAME_SIZE])
{
	static const char prefix[] = "gmemd@", suffix[] = ".socket";
	size_t length = strlen(name);

	if (strcmp(name, "gmemd-admin.socket") == 0) {
		snprintf(ret_name, GM_NAME_SIZE, GM_OPERATOR_NAME);
		return true;
	}
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0 && length > sizeof(suffix) - 1 &&
	    strcmp(name + length - (sizeof(suffix) - 1), suffix) == 0) {
		name += sizeof(prefix) - 1;
		length -= gm_min_u64(length, sizeof(prefix) - 1 + sizeof(suffix) - 1);
	}
	if (!gm_name_is_valid(name, length, GM_NAME_MAX))
		return false;
	snprintf(ret_name, GM_NAME_SIZE, "%.*s", (int)length, name);
	return true;
}

static int add_inherited(struct gm_tenants *tenants, const struct gm_inherited *inherited,
			 char *ret_fault)
{
	char name[GM_NAME_SIZE];
	int error = gm_check_listening(inherited->fd);

	if (error) {
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX,
			 "inherited socket \"%s\" is not a listening SEQPACKET Unix socket: %s",
			 inherited->name, gm_strerror(-error));
		return -EINVAL;
	}
	if (!inherited_name(inherited->name, name)) {
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX,
			 "inherited socket \"%s\" has no tenant's name: set FileDescriptorName=",
			 inherited->name);
		return -EINVAL;
	}
	error = door_add(tenants, name, /* path= */ NULL, inherited->fd, ret_fault);
	if (!error)
		party_by_name(tenants, name)->has_unit = true;
	return error;
}

static const struct gm_door *door_bound_to(const struct gm_tenants *tenants, const char *path)
{
	for (unsigned i = 0; i < tenants->n_doors; i++)
		if (tenants->doors[i].fd >= 0 && gm_is_bound_to(tenants->doors[i].fd, path))
			return &tenants->doors[i];
	return NULL;
}

/* A keeper has made the socket before us: its clients wait there already. */
static int add_from_option(struct gm_tenants *tenants, const char *name, const char *path,
			   char *ret_fault)
{
	const struct gm_door *door = door_bound_to(tenants, path);

	if (!door)
		return door_add(tenants, name, path, /* fd= */ -1, ret_fault);
	if (strcmp(door->party->name, name) == 0) {
		/* The keeper's, not the service manager's. */
		door->party->has_unit = false;
		return 0;
	}
	snprintf(ret_fault, GM_TENANTS_FAULT_MAX,
		 "%.200s: the inherited socket there is that of \"%s\", not of \"%s\"", path,
		 door->party->name, name);
	return -EINVAL;
}

static int add_from_options(struct gm_tenants *tenants, char *ret_fault)
{
	const struct gm_opts *opts = tenants->opts;

	for (unsigned i = 0; i < opts->n_listens; i++) {
		int error = add_from_option(tenants, opts->listens[i].name, opts->listens[i].path,
					    ret_fault);

		if (error)
			return error;
	}
	return opts->admin_path
		       ? add_from_option(tenants, GM_OPERATOR_NAME, opts->admin_path, ret_fault)
		       : 0;
}

/* Who reads units: everybody with --unit-root, else whoever the service manager has started. */
static void find_units(struct gm_tenants *tenants)
{
	for (unsigned i = 0; i < tenants->n_parties; i++) {
		struct gm_party *party = &tenants->parties[i];

		party->has_unit |= tenants->opts->unit_root != NULL;
		tenants->host_has_unit |= party->has_unit;
		party->has_unit &= !party->is_operator;
	}
}

/* A policy for somebody who is not there is most likely a misspelt name. */
static int check_policy_names(struct gm_tenants *tenants, char *ret_fault)
{
	for (unsigned i = 0; i < tenants->opts->n_policies; i++) {
		const char *name = tenants->opts->policies[i].name;
		const struct gm_party *party = party_by_name(tenants, name);

		if (name[0] == '\0' || (party && !party->is_operator))
			continue;
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX,
			 "--policy: there is no tenant \"%s\" to apply %.200s to", name,
			 tenants->opts->policies[i].path);
		return -EINVAL;
	}
	return 0;
}

int gm_tenants_collect(struct gm_tenants *tenants, const struct gm_opts *opts,
		       const struct gm_inherited *inherited, size_t n_inherited,
		       char ret_fault[GM_TENANTS_FAULT_MAX])
{
	int error = 0;

	tenants->opts = opts;
	for (size_t i = 0; i < n_inherited && !error; i++)
		error = add_inherited(tenants, &inherited[i], ret_fault);
	if (!error)
		error = add_from_options(tenants, ret_fault);
	find_units(tenants);
	if (!error)
		error = check_policy_names(tenants, ret_fault);
	if (!error && tenants->n_doors == 0) {
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX,
			 "nothing to listen on: give --listen NAME=PATH or --admin PATH, or start "
			 "it by a socket unit");
		error = -EADDRNOTAVAIL;
	}
	return error;
}

int gm_tenants_enter(struct gm_tenants *tenants, struct gm_book *book)
{
	for (unsigned i = 0; i < tenants->n_parties; i++) {
		struct gm_party *party = &tenants->parties[i];
		struct gm_refusal refusal;
		int error;

		party->counters = &book->counters;
		if (party->is_operator)
			continue;
		if (party->tenant)
			gm_book_set_policy(party->tenant, &party->view.policy);
		else if ((error = gm_book_add_tenant(book, party->name, &party->view.policy,
						     &party->tenant, &refusal)))
			return error < 0 ? error : -EINVAL;
		party->counters = &party->tenant->counters;
	}
	return 0;
}

static int door_open(struct gm_door *door, mode_t tenants_mode, char *ret_fault)
{
	mode_t mode = door->party->is_operator ? GM_ADMIN_MODE : tenants_mode;
	int error;

	if (!door->path)
		return 0;
	error = gm_listen_at(door->path, mode, &door->fd);
	if (error)
		snprintf(ret_fault, GM_TENANTS_FAULT_MAX, "%.200s: cannot listen there: %s",
			 door->path, gm_strerror(-error));
	door->made = !error;
	return error;
}

int gm_tenants_open(struct gm_tenants *tenants, char ret_fault[GM_TENANTS_FAULT_MAX])
{
	int error = 0;

	for (unsigned i = 0; i < tenants->n_doors && !error; i++)
		error = door_open(&tenants->doors[i], tenants->opts->socket_mode, ret_fault);
	return error;
}

int gm_tenants_serve(struct gm_tenants *tenants, struct gm_event_loop *loop,
		     const struct gm_listener_ops *ops, struct gm_service *service)
{
	for (unsigned i = 0; i < tenants->n_doors; i++) {
		struct gm_door *door = &tenants->doors[i];
		int error;

		door->service = service;
		error = gm_listener_new(loop, door->fd, ops, door, &door->listener);
		if (error)
			return error;
		door->fd = -1;
	}
	return 0;
}

void gm_tenants_pause(struct gm_tenants *tenants)
{
	for (unsigned i = 0; i < tenants->n_doors; i++)
		gm_listener_pause(tenants->doors[i].listener);
}

/* Unlinked first: once nobody listens there, another daemon may take the path over. */
static void door_close(struct gm_door *door)
{
	if (door->made)
		(void)unlink(door->path);
	door->made = false;
	gm_listener_free(door->listener);
	door->listener = NULL;
	gm_fd_close(door->fd);
	door->fd = -1;
}

void gm_tenants_close(struct gm_tenants *tenants)
{
	for (unsigned i = 0; i < tenants->n_doors; i++)
		door_close(&tenants->doors[i]);
	for (unsigned i = 0; i < tenants->n_parties; i++)
		gm_conf_sources_done(&tenants->parties[i].view.sources);
	gm_conf_sources_done(&tenants->host.sources);
}

unsigned gm_tenants_count(const struct gm_tenants *tenants)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tenants->n_parties; i++)
		n += !tenants->parties[i].is_operator;
	return n;
}

struct gm_party *gm_tenants_find(struct gm_tenants *tenants, const struct gm_tenant *tenant)
{
	for (unsigned i = 0; i < tenants->n_parties; i++) {
		struct gm_party *party = &tenants->parties[i];

		if (tenant ? party->tenant == tenant : party->is_operator)
			return party;
	}
	return NULL;
}
