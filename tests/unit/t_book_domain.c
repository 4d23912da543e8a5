/* SPDX-License-Identifier: Apache-2.0 */
/* Domains: who may have one, who may see it, who holds it, and when it goes. */
#include "book_fixture.h"

static void a_new_domain_is_attached_and_charged(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;
	struct gm_domain *found = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &domain),
			 0);
	assert_string_equal(domain->name, "vm1");
	assert_string_equal(domain->kind, "memfd");
	assert_int_equal(domain->lifetime, GM_LIFETIME_BOUND);
	assert_int_equal(domain->created_ms, 1000);
	assert_ptr_equal(domain->session, host.session);
	assert_ptr_equal(TAILQ_FIRST(&host.session->domains), domain);
	assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 1);
	assert_int_equal(host_used(&host, GM_RES_DOMAINS), 1);
	assert_int_equal(host.book.n_domains, 1);
	assert_int_equal(gm_book_find_attached(&host.book, host.session, domain->id, &found, NULL),
			 0);
	assert_ptr_equal(found, domain);
	host_done(&host);
}

static void a_kind_that_the_policy_does_not_name_is_denied(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain = NULL;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.all_kinds = false;
	gm_book_set_policy(host.acme, &policy);
	assert_int_equal(host_try_domain(&host, host.session, "", GM_LIFETIME_BOUND, &domain),
			 GM_DENIED);
	assert_int_equal(host.refusal.rule, GM_RULE_KINDS);
	assert_string_equal(host.refusal.object, "tenant acme");
	host_done(&host);
}

static void persistence_needs_the_policys_leave(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain = NULL;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.persistent = false;
	gm_book_set_policy(host.acme, &policy);
	assert_int_equal(host_try_domain(&host, host.session, "", GM_LIFETIME_PERSISTENT, &domain),
			 GM_DENIED);
	assert_int_equal(host.refusal.rule, GM_RULE_PERSISTENT);
	assert_string_equal(host.refusal.object, "tenant acme");
	assert_int_equal(host_try_domain(&host, host.session, "", GM_LIFETIME_BOUND, &domain), 0);
	host_done(&host);
}

static void a_name_is_unique_within_its_tenant_only(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;
	struct gm_domain *second = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &domain),
			 0);
	assert_int_equal(host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &second),
			 GM_EXISTS);
	assert_int_equal(host.refusal.rule, GM_RULE_NAME_TAKEN);
	assert_null(second);
	assert_int_equal(host_try_domain(&host, host.session, "vm11", GM_LIFETIME_BOUND, &second),
			 0);
	assert_int_equal(host_try_domain(&host, host.stranger, "vm1", GM_LIFETIME_BOUND, &second),
			 0);
	host_done(&host);
}

static void any_number_of_domains_may_have_no_name(void **state)
{
	struct host host;

	(void)state;
	host_init(&host);
	host_domain(&host, host.session);
	host_domain(&host, host.session);
	assert_int_equal(host.book.n_domains, 2);
	host_done(&host);
}

static void the_name_of_an_ended_domain_is_free_at_once(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;
	struct gm_domain *second = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &domain),
			 0);
	gm_book_end_domain(domain);
	assert_int_equal(host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &second),
			 0);
	host_done(&host);
}

static void a_domain_over_the_limit_is_refused_with_the_numbers(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain = NULL;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.domains_max = 2;
	gm_book_set_policy(host.acme, &policy);
	host_domain(&host, host.session);
	host_domain(&host, host.session);
	assert_int_equal(host_try_domain(&host, host.session, "", GM_LIFETIME_BOUND, &domain),
			 GM_OVER_LIMIT);
	assert_int_equal(host.refusal.rule, GM_RULE_DOMAINS_MAX);
	assert_string_equal(host.refusal.object, "tenant acme");
	assert_int_equal(host.refusal.limit, 2);
	assert_int_equal(host.refusal.used, 2);
	assert_int_equal(host.refusal.asked, 1);
	host_done(&host);
}

static void a_draining_daemon_makes_no_domain(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;

	(void)state;
	host_init(&host);
	host.book.draining = true;
	assert_int_equal(host_try_domain(&host, host.session, "", GM_LIFETIME_BOUND, &domain),
			 GM_SHUTTING_DOWN);
	assert_int_equal(host.refusal.rule, GM_RULE_DRAINING);
	host_done(&host);
}

static void an_operator_has_no_domains(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;
	struct gm_session *loser = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(host_try_domain(&host, host.admin, "", GM_LIFETIME_BOUND, &domain),
			 GM_DENIED);
	assert_int_equal(host.refusal.rule, GM_RULE_PERMISSION);

	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_attach(host.admin, domain, true, &loser, &host.refusal),
			 GM_DENIED);
	assert_int_equal(host.refusal.rule, GM_RULE_PERMISSION);
	assert_ptr_equal(domain->session, host.session);
	host_done(&host);
}

static void an_id_that_is_in_use_is_not_booked_twice(void **state)
{
	const struct gm_domain_spec spec = { .name = "new", .kind = "memfd" };
	struct host host;
	struct gm_domain *domain;
	struct gm_domain *second = NULL;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_create_domain(&host.book, host.session, &spec, domain->id,
					       &domain->token, 0, &second, &host.refusal),
			 -EEXIST);
	assert_int_equal(host.book.n_domains, 1);
	assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 1);
	host_done(&host);
}

/* Every allocation of the way is failed once; the books must not tell the difference. */
static void a_domain_that_is_short_of_memory_leaves_nothing(void **state)
{
	struct host host;
	struct gm_domain *domain = NULL;
	long nth = 1;

	(void)state;
	host_init(&host);
	for (;; nth++) {
		int r;

		gm_test_fail_allocation(nth);
		r = host_try_domain(&host, host.session, "vm1", GM_LIFETIME_BOUND, &domain);
		gm_test_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(domain);
		assert_int_equal(host.book.n_domains, 0);
		assert_null(host.book.domains);
		assert_null(host.acme->names);
		assert_true(TAILQ_EMPTY(&host.session->domains));
		assert_true(TAILQ_EMPTY(&host.acme->domains));
		assert_int_equal(host.acme->account.used[GM_RES_DOMAINS], 0);
	}
	/* The domain, and two for each of its two hash tables. */
	assert_int_equal(nth, 6);
	host_done(&host);
}

static int find(struct host *host, const struct gm_session *session, uint64_t id)
{
	struct gm_domain *found = NULL;

	memset(&host->refusal, 0, sizeof(host->refusal));
	return gm_book_find_domain(&host->book, session, (struct gm_domain_id){ id }, &found,
				   &host->refusal);
}

static void assert_same_refusal(const struct gm_refusal *a, const struct gm_refusal *b)
{
	assert_int_equal(a->rule, b->rule);
	assert_int_equal(a->sys_errno, b->sys_errno);
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->limit, b->limit);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->asked, b->asked);
	assert_string_equal(a->object, b->object);
	assert_string_equal(a->text, b->text);
}

static void unknown_foreign_ended_and_destroyed_ids_get_one_answer(void **state)
{
	struct host host;
	struct gm_domain *foreign;
	struct gm_domain *ended;
	struct gm_domain *destroyed;
	uint64_t destroyed_id;
	struct gm_refusal unknown;

	(void)state;
	host_init(&host);
	foreign = host_domain(&host, host.stranger);
	ended = host_domain(&host, host.session);
	destroyed = host_domain(&host, host.session);
	destroyed_id = destroyed->id.v;
	gm_book_end_domain(ended);
	gm_book_remove_domain(&host.book, destroyed);

	assert_int_equal(find(&host, host.session, 0xdeadbeef), GM_NO_SUCH_OBJECT);
	unknown = host.refusal;
	assert_string_equal(unknown.object, "domain");

	assert_int_equal(find(&host, host.session, foreign->id.v), GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);
	assert_int_equal(find(&host, host.session, ended->id.v), GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);
	assert_int_equal(find(&host, host.session, destroyed_id), GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);
	assert_int_equal(find(&host, host.session, 0), GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);
	host_done(&host);
}

static void a_wrong_token_gets_the_answer_of_an_unknown_id(void **state)
{
	struct host host;
	struct gm_domain *domain;
	struct gm_domain *found = NULL;
	struct gm_token wrong;
	struct gm_refusal unknown;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	wrong = domain->token;
	wrong.bytes[GM_TOKEN_SIZE - 1] ^= 1;

	assert_int_equal(find(&host, host.session, 0xdeadbeef), GM_NO_SUCH_OBJECT);
	unknown = host.refusal;

	memset(&host.refusal, 0, sizeof(host.refusal));
	assert_int_equal(gm_book_find_with_token(&host.book, host.session, domain->id, &wrong,
						 &found, &host.refusal),
			 GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);

	/* The right token, but from a tenant that the domain is not of. */
	memset(&host.refusal, 0, sizeof(host.refusal));
	assert_int_equal(gm_book_find_with_token(&host.book, host.stranger, domain->id,
						 &domain->token, &found, &host.refusal),
			 GM_NO_SUCH_OBJECT);
	assert_same_refusal(&host.refusal, &unknown);
	assert_null(found);

	assert_int_equal(gm_book_find_with_token(&host.book, host.session, domain->id,
						 &domain->token, &found, &host.refusal),
			 0);
	assert_ptr_equal(found, domain);
	host_done(&host);
}

static void the_stand_in_token_of_unknown_ids_opens_nothing(void **state)
{
	const struct gm_token zeros = { .bytes = { 0 } };
	struct host host;
	struct gm_domain *found = NULL;

	(void)state;
	host_init(&host);
	assert_int_equal(gm_book_find_with_token(&host.book, host.session,
						 (struct gm_domain_id){ 0xdeadbeef }, &zeros,
						 &found, &host.refusal),
			 GM_NO_SUCH_OBJECT);
	assert_null(found);
	host_done(&host);
}

static void an_operator_sees_every_tenants_domains(void **state)
{
	struct host host;
	struct gm_domain *ours;
	struct gm_domain *theirs;

	(void)state;
	host_init(&host);
	ours = host_domain(&host, host.session);
	theirs = host_domain(&host, host.stranger);
	assert_int_equal(find(&host, host.admin, ours->id.v), 0);
	assert_int_equal(find(&host, host.admin, theirs->id.v), 0);
	assert_int_equal(find(&host, host.admin, 0xdeadbeef), GM_NO_SUCH_OBJECT);
	host_done(&host);
}

static void a_domain_attached_elsewhere_is_seen_but_not_used(void **state)
{
	struct host host;
	struct gm_session *second;
	struct gm_domain *domain;
	struct gm_domain *found = NULL;

	(void)state;
	host_init(&host);
	second = host_session(&host, host.acme);
	domain = host_domain(&host, host.session);
	assert_int_equal(find(&host, second, domain->id.v), 0);
	assert_int_equal(
		gm_book_find_attached(&host.book, second, domain->id, &found, &host.refusal),
		GM_BUSY);
	assert_int_equal(host.refusal.rule, GM_RULE_ATTACHED);
	assert_string_equal(host.refusal.object, "domain 0000000000001005");
	assert_null(found);
	host_done(&host);
}

static void an_orphan_is_attached_to_nobody(void **state)
{
	struct host host;
	struct gm_domain *domain;
	struct gm_domain *found = NULL;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	gm_book_detach(domain, 5000);
	assert_true(TAILQ_EMPTY(&host.session->domains));
	assert_int_equal(
		gm_book_find_attached(&host.book, host.session, domain->id, &found, &host.refusal),
		GM_BUSY);
	assert_int_equal(host.refusal.rule, GM_RULE_ATTACHED);
	host_done(&host);
}

static void an_orphan_goes_to_whoever_has_the_token(void **state)
{
	struct host host;
	struct gm_session *second;
	struct gm_session *loser;
	struct gm_domain *domain;

	(void)state;
	host_init(&host);
	second = host_session(&host, host.acme);
	domain = host_domain(&host, host.session);
	gm_book_detach(domain, 5000);
	loser = host.session;
	assert_int_equal(gm_book_attach(second, domain, false, &loser, &host.refusal), 0);
	assert_null(loser);
	assert_ptr_equal(domain->session, second);
	assert_ptr_equal(TAILQ_FIRST(&second->domains), domain);
	host_done(&host);
}

static void a_domain_in_use_is_only_taken_over_on_request(void **state)
{
	struct host host;
	struct gm_session *second;
	struct gm_session *loser = NULL;
	struct gm_domain *domain;

	(void)state;
	host_init(&host);
	second = host_session(&host, host.acme);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_attach(second, domain, false, &loser, &host.refusal), GM_BUSY);
	assert_int_equal(host.refusal.rule, GM_RULE_ATTACHED);
	assert_ptr_equal(domain->session, host.session);

	assert_int_equal(gm_book_attach(second, domain, true, &loser, &host.refusal), 0);
	assert_ptr_equal(loser, host.session);
	assert_ptr_equal(domain->session, second);
	assert_true(TAILQ_EMPTY(&host.session->domains));
	host_done(&host);
}

static void a_domain_with_jobs_is_not_taken_over(void **state)
{
	struct host host;
	struct gm_session *second;
	struct gm_session *loser = NULL;
	struct gm_domain *domain;
	struct gm_range range = { 0, GM_MIB };
	struct gm_job_ticket ticket;

	(void)state;
	host_init(&host);
	second = host_session(&host, host.acme);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_begin_job(&host.book, host.session,
					   host_region(&host, domain, 0, GM_MIB),
					   GM_PAGE_OP_ALLOCATE, &range, 1, &ticket, &host.refusal),
			 0);
	assert_int_equal(gm_book_attach(second, domain, true, &loser, &host.refusal), GM_BUSY);
	assert_int_equal(host.refusal.rule, GM_RULE_JOBS_UNDER_WAY);
	assert_ptr_equal(domain->session, host.session);
	gm_book_end_job(&ticket);
	assert_int_equal(gm_book_attach(second, domain, true, &loser, &host.refusal), 0);
	host_done(&host);
}

static void attaching_what_one_has_changes_nothing(void **state)
{
	struct host host;
	struct gm_session *loser;
	struct gm_domain *domain;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	loser = host.session;
	assert_int_equal(gm_book_attach(host.session, domain, false, &loser, &host.refusal), 0);
	assert_null(loser);
	assert_ptr_equal(domain->session, host.session);
	assert_ptr_equal(TAILQ_FIRST(&host.session->domains), domain);
	assert_null(TAILQ_NEXT(domain, session_link));
	host_done(&host);
}

static void time_runs_only_while_a_domain_is_orphaned(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain;
	struct gm_session *loser;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.persistent_ttl_ms = 10000;
	gm_book_set_policy(host.acme, &policy);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_domain_ttl_left(domain, 1000000), GM_UNLIMITED);
	gm_book_detach(domain, 5000);
	assert_int_equal(gm_domain_ttl_left(domain, 5000), 10000);
	assert_int_equal(gm_domain_ttl_left(domain, 14999), 1);
	assert_int_equal(gm_domain_ttl_left(domain, 15000), 0);
	assert_int_equal(gm_domain_ttl_left(domain, 99999), 0);
	assert_int_equal(gm_domain_ttl_left(domain, 0), 10000);
	assert_int_equal(gm_book_attach(host.session, domain, false, &loser, &host.refusal), 0);
	assert_int_equal(gm_domain_ttl_left(domain, 99999), GM_UNLIMITED);
	host_done(&host);
}

static void letting_go_of_an_orphan_does_not_restart_its_time(void **state)
{
	struct host host;
	struct gm_domain *domain;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	gm_book_detach(domain, 5000);
	gm_book_detach(domain, 9000);
	assert_int_equal(gm_domain_ttl_left(domain, 9000), GM_POLICY_TTL_MS - 4000);
	host_done(&host);
}

static void a_ttl_of_infinity_never_ends(void **state)
{
	struct host host;
	struct gm_policy policy;
	struct gm_domain *domain;

	(void)state;
	host_init(&host);
	policy = host.acme->policy;
	policy.persistent_ttl_ms = GM_UNLIMITED;
	gm_book_set_policy(host.acme, &policy);
	domain = host_domain(&host, host.session);
	gm_book_detach(domain, 0);
	assert_int_equal(gm_domain_ttl_left(domain, UINT64_MAX - 1), GM_UNLIMITED);
	host_done(&host);
}

static void a_domain_with_jobs_is_not_destroyed(void **state)
{
	struct host host;
	struct gm_domain *domain;
	struct gm_range range = { 0, GM_MIB };
	struct gm_job_ticket ticket;

	(void)state;
	host_init(&host);
	domain = host_domain(&host, host.session);
	assert_int_equal(gm_book_may_destroy_domain(domain, &host.refusal), 0);
	assert_int_equal(gm_book_begin_job(&host.book, host.session,
					   host_region(&host, domain, 0, GM_MIB),
					   GM_PAGE_OP_ALLOCATE, &range, 1, &ticket, &host.refusal),
			 0);
	assert_int_equal(gm_book_may_destroy_domain(domain, &host.refusal), GM_BUSY);
	assert_int_equal(host.refusal.rule, GM_RULE_JOBS_UNDER_WAY);
	assert_string_equal(host.refusal.object, "domain 0000000000001004");
	gm_book_end_job(&ticket);
	assert_int_equal(gm_book_may_destroy_domain(domain, &host.refusal), 0);
	host_done(&host);
}

static void domains_are_walked_in_order_of_creation_without_the_ended(void **state)
{
	struct host host;
	struct gm_domain *first;
	struct gm_domain *second;
	struct gm_domain *third;

	(void)state;
	host_init(&host);
	assert_null(gm_book_next_domain(&host.book, NULL));
	first = host_domain(&host, host.session);
	second = host_domain(&host, host.stranger);
	third = host_domain(&host, host.session);
	assert_true(first->sequence < second->sequence && second->sequence < third->sequence);
	assert_ptr_equal(gm_book_next_domain(&host.book, NULL), first);
	assert_ptr_equal(gm_book_next_domain(&host.book, first), second);
	assert_ptr_equal(gm_book_next_domain(&host.book, second), third);
	assert_null(gm_book_next_domain(&host.book, third));
	gm_book_end_domain(second);
	assert_ptr_equal(gm_book_next_domain(&host.book, first), third);
	gm_book_end_domain(third);
	assert_null(gm_book_next_domain(&host.book, first));
	host_done(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_new_domain_is_attached_and_charged),
		gm_test(a_kind_that_the_policy_does_not_name_is_denied),
		gm_test(persistence_needs_the_policys_leave),
		gm_test(a_name_is_unique_within_its_tenant_only),
		gm_test(any_number_of_domains_may_have_no_name),
		gm_test(the_name_of_an_ended_domain_is_free_at_once),
		gm_test(a_domain_over_the_limit_is_refused_with_the_numbers),
		gm_test(a_draining_daemon_makes_no_domain),
		gm_test(an_operator_has_no_domains),
		gm_test(an_id_that_is_in_use_is_not_booked_twice),
		gm_test(a_domain_that_is_short_of_memory_leaves_nothing),
		gm_test(unknown_foreign_ended_and_destroyed_ids_get_one_answer),
		gm_test(a_wrong_token_gets_the_answer_of_an_unknown_id),
		gm_test(the_stand_in_token_of_unknown_ids_opens_nothing),
		gm_test(an_operator_sees_every_tenants_domains),
		gm_test(a_domain_attached_elsewhere_is_seen_but_not_used),
		gm_test(an_orphan_is_attached_to_nobody),
		gm_test(an_orphan_goes_to_whoever_has_the_token),
		gm_test(a_domain_in_use_is_only_taken_over_on_request),
		gm_test(a_domain_with_jobs_is_not_taken_over),
		gm_test(attaching_what_one_has_changes_nothing),
		gm_test(time_runs_only_while_a_domain_is_orphaned),
		gm_test(letting_go_of_an_orphan_does_not_restart_its_time),
		gm_test(a_ttl_of_infinity_never_ends),
		gm_test(a_domain_with_jobs_is_not_destroyed),
		gm_test(domains_are_walked_in_order_of_creation_without_the_ended),
	};

	return gm_test_run("book_domain", tests, GM_ARRAY_SIZE(tests));
}
