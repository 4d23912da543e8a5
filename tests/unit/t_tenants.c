/* SPDX-License-Identifier: Apache-2.0 */
/* Who is served at which socket, and under which policy. */
#include "gm_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "policies.h"

#define HOST_MEMORY (100 * GM_GIB)

struct fixture {
	char folder[64];
	char policy_path[80];
	char socket_path[80];
	struct gm_opts opts;
	struct gm_tenants tenants;
	struct gm_book book;
	char fault[GM_TENANTS_FAULT_MAX];
};

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/gm-tenants-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->policy_path, sizeof(f->policy_path), "%s/policy", f->folder);
	snprintf(f->socket_path, sizeof(f->socket_path), "%s/socket", f->folder);
	f->opts.socket_mode = 0660;
	gm_book_init(&f->book);
	return f;
}

static void fixture_free(struct fixture *f)
{
	gm_tenants_close(&f->tenants);
	gm_book_done(&f->book);
	unlink(f->policy_path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
}

static void add_listen(struct fixture *f, const char *name, const char *path)
{
	struct gm_opts_pair *pair = &f->opts.listens[f->opts.n_listens++];

	snprintf(pair->name, sizeof(pair->name), "%s", name);
	pair->path = path;
}

static void add_policy(struct fixture *f, const char *name, const char *path)
{
	struct gm_opts_pair *pair = &f->opts.policies[f->opts.n_policies++];

	snprintf(pair->name, sizeof(pair->name), "%s", name);
	pair->path = path;
}

static void write_policy(const struct fixture *f, const char *text)
{
	FILE *file = fopen(f->policy_path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int collect(struct fixture *f)
{
	return gm_tenants_collect(&f->tenants, &f->opts, NULL, 0, f->fault);
}

static int reload(struct fixture *f)
{
	struct gm_policies_machine machine;

	gm_policies_of_machine(HOST_MEMORY, 1000, 64, &machine);
	return gm_policies_read(&f->tenants, &machine, GM_POLICIES_RELOAD, f->fault);
}

static int listening_socket(void)
{
	/* An autobound abstract address: nothing to remove afterwards. */
	const struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static const char *party_of_inherited(struct fixture *f, const char *name)
{
	struct gm_inherited inherited = { .fd = listening_socket() };

	snprintf(inherited.name, sizeof(inherited.name), "%s", name);
	memset(&f->tenants, 0, sizeof(f->tenants));
	if (gm_tenants_collect(&f->tenants, &f->opts, &inherited, 1, f->fault)) {
		close(inherited.fd);
		return NULL;
	}
	gm_tenants_close(&f->tenants);
	return f->tenants.parties[0].is_operator ? "(operator)" : f->tenants.parties[0].name;
}

static void the_name_of_an_inherited_socket_says_whom_it_serves(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	assert_string_equal(party_of_inherited(f, "acme"), "acme");
	assert_string_equal(party_of_inherited(f, "gmemd@acme.socket"), "acme");
	assert_string_equal(party_of_inherited(f, "gmemd@a.b.socket"), "a.b");
	assert_string_equal(party_of_inherited(f, "admin"), "(operator)");
	assert_string_equal(party_of_inherited(f, "gmemd-admin.socket"), "(operator)");
	fixture_free(f);
}

static void an_inherited_socket_without_a_tenants_name_is_refused(void **state)
{
	static const char *const bad[] = { "", "gmemd@.socket", "gmemd@a b.socket", "a/b",
					   "gmemd@acme" };
	struct fixture *f = fixture_new();

	(void)state;
	for (size_t i = 0; i < GM_ARRAY_SIZE(bad); i++) {
		assert_null(party_of_inherited(f, bad[i]));
		assert_non_null(strstr(f->fault, "FileDescriptorName="));
	}
	fixture_free(f);
}

static void an_inherited_socket_of_another_kind_is_refused(void **state)
{
	struct gm_inherited inherited = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
					  .name = "acme" };
	struct fixture *f = fixture_new();

	(void)state;
	assert_int_equal(gm_tenants_collect(&f->tenants, &f->opts, &inherited, 1, f->fault),
			 -EINVAL);
	assert_non_null(strstr(f->fault, "acme"));
	memset(&f->tenants, 0, sizeof(f->tenants));
	close(inherited.fd);
	fixture_free(f);
}

static void no_socket_at_all_is_told_apart(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	assert_int_equal(collect(f), -EADDRNOTAVAIL);
	fixture_free(f);
}

static void a_tenant_may_have_many_sockets_and_counts_once(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	add_listen(f, "acme", "/a");
	add_listen(f, "acme", "/b");
	add_listen(f, "other", "/c");
	f->opts.admin_path = "/d";
	assert_int_equal(collect(f), 0);
	assert_int_equal(f->tenants.n_doors, 4);
	assert_int_equal(gm_tenants_count(&f->tenants), 2);
	assert_ptr_equal(f->tenants.doors[0].party, f->tenants.doors[1].party);
	fixture_free(f);
}

static void a_policy_for_nobody_is_refused(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	add_listen(f, "acme", "/a");
	add_policy(f, "acne", "/p");
	assert_int_equal(collect(f), -EINVAL);
	assert_non_null(strstr(f->fault, "acne"));
	fixture_free(f);
}

static struct gm_policy *policy_of(struct fixture *f, const char *name)
{
	return &gm_book_find_tenant(&f->book, name)->policy;
}

static void a_tenants_own_policy_goes_over_the_one_for_all(void **state)
{
	struct fixture *f = fixture_new();
	char own_path[96];
	FILE *own;

	(void)state;
	snprintf(own_path, sizeof(own_path), "%s/own", f->folder);
	own = fopen(own_path, "we");
	assert_non_null(own);
	fputs("[X-Gmemd]\nDomainsMax=3\n", own);
	fclose(own);
	write_policy(f, "[X-Gmemd]\nDomainsMax=7\nSessionsMax=5\n");
	add_listen(f, "acme", "/a");
	add_listen(f, "other", "/b");
	add_policy(f, "acme", own_path);
	add_policy(f, "", f->policy_path);
	assert_int_equal(collect(f), 0);
	assert_int_equal(reload(f), 0);
	assert_int_equal(gm_tenants_enter(&f->tenants, &f->book), 0);
	assert_int_equal(policy_of(f, "acme")->domains_max, 3);
	assert_int_equal(policy_of(f, "acme")->sessions_max, 5);
	assert_int_equal(policy_of(f, "other")->domains_max, 7);
	unlink(own_path);
	fixture_free(f);
}

static void a_policy_read_again_takes_effect_and_a_bad_one_changes_nothing(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	write_policy(f, "[X-Gmemd]\nDomainsMax=7\n");
	add_listen(f, "acme", "/a");
	add_policy(f, "acme", f->policy_path);
	assert_int_equal(collect(f), 0);
	assert_int_equal(reload(f), 0);
	assert_int_equal(gm_tenants_enter(&f->tenants, &f->book), 0);

	write_policy(f, "[X-Gmemd]\nDomainsMax=9\n\nMemoryMax=plenty\n");
	assert_int_equal(reload(f), -EINVAL);
	assert_non_null(strstr(f->fault, "policy:4: MemoryMax: "));
	assert_int_equal(gm_tenants_enter(&f->tenants, &f->book), 0);
	assert_int_equal(policy_of(f, "acme")->domains_max, 7);

	write_policy(f, "[X-Gmemd]\nDomainsMax=9\n");
	assert_int_equal(reload(f), 0);
	assert_int_equal(gm_tenants_enter(&f->tenants, &f->book), 0);
	assert_int_equal(policy_of(f, "acme")->domains_max, 9);
	fixture_free(f);
}

static void a_policy_that_is_no_file_is_named_with_the_reason(void **state)
{
	struct fixture *f = fixture_new();

	(void)state;
	add_listen(f, "acme", "/a");
	add_policy(f, "", f->policy_path);
	assert_int_equal(collect(f), 0);
	assert_int_equal(reload(f), -EINVAL);
	assert_non_null(strstr(f->fault, "No such file"));

	assert_int_equal(mkfifo(f->policy_path, 0600), 0);
	assert_int_equal(reload(f), -EINVAL);
	assert_non_null(strstr(f->fault, f->policy_path));
	fixture_free(f);
}

static void sockets_have_their_modes_and_go_with_the_daemon(void **state)
{
	struct fixture *f = fixture_new();
	char admin_path[96];
	struct stat st;

	(void)state;
	snprintf(admin_path, sizeof(admin_path), "%s/admin", f->folder);
	add_listen(f, "acme", f->socket_path);
	f->opts.admin_path = admin_path;
	assert_int_equal(collect(f), 0);
	assert_int_equal(gm_tenants_open(&f->tenants, f->fault), 0);
	assert_int_equal(stat(f->socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(stat(admin_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	gm_tenants_close(&f->tenants);
	assert_int_equal(stat(f->socket_path, &st), -1);
	assert_int_equal(stat(admin_path, &st), -1);
	fixture_free(f);
}

static void a_socket_that_another_daemon_listens_on_is_not_removed(void **state)
{
	struct fixture *f = fixture_new();
	int other;

	(void)state;
	assert_int_equal(gm_listen_at(f->socket_path, 0600, &other), 0);
	add_listen(f, "acme", f->socket_path);
	assert_int_equal(collect(f), 0);
	assert_int_equal(gm_tenants_open(&f->tenants, f->fault), -EADDRINUSE);
	assert_non_null(strstr(f->fault, f->socket_path));
	gm_tenants_close(&f->tenants);
	assert_int_equal(unlink(f->socket_path), 0);
	close(other);
	fixture_free(f);
}

static void an_inherited_socket_at_the_path_of_an_option_is_taken_and_not_removed(void **state)
{
	struct gm_inherited inherited = { .name = "acme" };
	struct fixture *f = fixture_new();
	struct stat st;

	(void)state;
	assert_int_equal(gm_listen_at(f->socket_path, 0600, &inherited.fd), 0);
	add_listen(f, "acme", f->socket_path);
	assert_int_equal(gm_tenants_collect(&f->tenants, &f->opts, &inherited, 1, f->fault), 0);
	assert_int_equal(f->tenants.n_doors, 1);
	assert_int_equal(gm_tenants_open(&f->tenants, f->fault), 0);
	assert_int_equal(f->tenants.doors[0].fd, inherited.fd);
	gm_tenants_close(&f->tenants);
	assert_int_equal(stat(f->socket_path, &st), 0);
	unlink(f->socket_path);
	fixture_free(f);
}

static void an_inherited_socket_at_the_path_of_another_tenant_is_refused(void **state)
{
	struct gm_inherited inherited = { .name = "acme" };
	struct fixture *f = fixture_new();

	(void)state;
	assert_int_equal(gm_listen_at(f->socket_path, 0600, &inherited.fd), 0);
	add_listen(f, "rival", f->socket_path);
	assert_int_equal(gm_tenants_collect(&f->tenants, &f->opts, &inherited, 1, f->fault),
			 -EINVAL);
	assert_non_null(strstr(f->fault, "acme"));
	assert_non_null(strstr(f->fault, "rival"));
	unlink(f->socket_path);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(the_name_of_an_inherited_socket_says_whom_it_serves),
		gm_test(an_inherited_socket_without_a_tenants_name_is_refused),
		gm_test(an_inherited_socket_of_another_kind_is_refused),
		gm_test(no_socket_at_all_is_told_apart),
		gm_test(a_tenant_may_have_many_sockets_and_counts_once),
		gm_test(a_policy_for_nobody_is_refused),
		gm_test(a_tenants_own_policy_goes_over_the_one_for_all),
		gm_test(a_policy_read_again_takes_effect_and_a_bad_one_changes_nothing),
		gm_test(a_policy_that_is_no_file_is_named_with_the_reason),
		gm_test(sockets_have_their_modes_and_go_with_the_daemon),
		gm_test(a_socket_that_another_daemon_listens_on_is_not_removed),
		gm_test(an_inherited_socket_at_the_path_of_an_option_is_taken_and_not_removed),
		gm_test(an_inherited_socket_at_the_path_of_another_tenant_is_refused),
	};

	return gm_test_run("tenants", tests, GM_ARRAY_SIZE(tests));
}
