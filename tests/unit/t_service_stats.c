/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATS: all tenants, a page at a time, and what is counted and measured.
 */
#include <stdio.h>
#include <string.h>

#include "service_rig.h"

#define MANY 300

static struct rig rig;
static struct peer peer;
static struct peer admin;

static void start(void)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&admin, &rig, NULL);
}

static void stop(void)
{
	peer_close(&admin);
	peer_close(&peer);
	rig_stop(&rig);
}

static const Gmem__StatsReply *stats(struct peer *who, bool detail, uint64_t cursor)
{
	Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	struct answer answer;

	request.has_detail = detail;
	request.detail = detail;
	request.has_cursor = cursor != 0;
	request.cursor = cursor;
	answer = peer_ask(who, GM_MSG_STATS, &request.base);
	assert_true(answer.frame.body_length <= GM_BODY_MAX);
	return expect_reply(&answer);
}

static uint64_t count_of(Gmem__Count *const *counts, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (bytes_equal(counts[i]->name, name))
			return counts[i]->count;
	return 0;
}

static void add_many_tenants(void)
{
	struct gm_policy policy;

	gm_policy_defaults(&policy, GM_GIB);
	for (unsigned i = 0; i < MANY; i++) {
		struct gm_tenant *tenant;
		char name[GM_NAME_SIZE];

		snprintf(name, sizeof(name), "a-tenant-with-quite-a-long-name-%032u", i);
		assert_int_equal(gm_book_add_tenant(&rig.book, name, &policy, &tenant, NULL), 0);
		/* The worst that there is to tell of one. */
		memset(&tenant->counters, 0x55, sizeof(tenant->counters));
	}
}

static void expect_every_tenant_once(bool detail)
{
	const struct gm_tenant *tenant = TAILQ_FIRST(&rig.book.tenants);
	const Gmem__StatsReply *reply = stats(&admin, detail, 0);
	size_t i = 1;

	assert_true(bytes_equal(reply->accounts[0]->account, "host"));
	while (tenant != NULL) {
		if (i == reply->n_accounts) {
			assert_int_not_equal(reply->cursor, 0);
			reply = stats(&admin, detail, reply->cursor);
			assert_true(reply->n_accounts > 0);
			i = 0;
		}
		assert_true(bytes_equal(reply->accounts[i]->account, tenant->name));
		tenant = TAILQ_NEXT(tenant, link);
		i++;
	}
	assert_int_equal(i, reply->n_accounts);
	assert_int_equal(reply->cursor, 0);
}

static void every_tenant_is_on_one_page(void **state)
{
	(void)state;
	start();
	add_many_tenants();
	expect_every_tenant_once(false);
	expect_every_tenant_once(true);
	stop();
}

static void other_accounts_are_the_operators(void **state)
{
	Gmem__StatsRequest request = GMEM__STATS_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	request.has_cursor = 1;
	request.cursor = 1;
	answer = peer_ask(&peer, GM_MSG_STATS, &request.base);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	stop();
}

static void a_cursor_past_the_end_gives_nothing(void **state)
{
	(void)state;
	start();
	assert_int_equal(stats(&admin, true, UINT64_MAX)->n_accounts, 0);
	stop();
}

static void answers_are_counted_by_code_and_rule(void **state)
{
	const Gmem__UsageInfo *info;
	struct answer answer;
	uint64_t domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "a").id;
	answer = ask_region_get(&peer, 1, false);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = ask_domain_destroy(&peer, domain, NULL);
	info = stats(&peer, true, 0)->accounts[0];
	/* HELLO, DOMAIN_CREATE, DOMAIN_DESTROY. */
	assert_int_equal(count_of(info->codes, info->n_codes, "ok"), 3);
	assert_int_equal(count_of(info->codes, info->n_codes, "no-such-object"), 1);
	assert_int_equal(info->n_rules, 1);
	assert_int_equal(count_of(info->news, info->n_news, "domain"), 1);
	assert_int_equal(count_of(info->news, info->n_news, "refusal"), 1);
	assert_int_equal(stats(&peer, false, 0)->accounts[0]->n_codes, 0);
	stop();
}

static void the_hosts_counts_are_the_sum_of_all(void **state)
{
	const Gmem__StatsReply *reply;

	(void)state;
	start();
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	reply = stats(&admin, true, 0);
	assert_int_equal(count_of(reply->accounts[0]->codes, reply->accounts[0]->n_codes, "ok"), 3);
	assert_int_equal(count_of(reply->accounts[1]->codes, reply->accounts[1]->n_codes, "ok"), 2);
	stop();
}

static unsigned bucket_of(const Gmem__StatsReply *reply, uint64_t us)
{
	unsigned i = 0;

	while (i < reply->n_bounds_us && us > reply->bounds_us[i])
		i++;
	return i;
}

static void a_job_takes_from_its_request_to_its_answer(void **state)
{
	const Gmem__StatsReply *reply;
	const Gmem__Histogram *job;
	uint64_t domain;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	region = make_region(&peer, domain, 0, GM_MIB);
	rig_us = 1000000;
	start_allocate(&peer, region, 0, GM_MIB);
	rig_us += 123456;
	fake_crew_finish(fake_crew_first(rig.hub));
	(void)peer_take(&peer);
	if (peer.n_packets > 0)
		(void)peer_take(&peer);
	reply = stats(&peer, true, 0);
	job = reply->accounts[0]->histograms[1];
	assert_true(bytes_equal(job->name, "job"));
	assert_int_equal(job->n_counts, reply->n_bounds_us + 1);
	assert_int_equal(job->counts[bucket_of(reply, 123456)], 1);
	assert_int_equal(job->sum_us, 123456);
	stop();
}

static void a_grant_is_measured_and_a_refused_one_is_not(void **state)
{
	const Gmem__StatsReply *reply;
	const Gmem__Histogram *grant;
	uint64_t total = 0;
	uint64_t domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	make_region(&peer, domain, 0, GM_MIB);
	make_region(&peer, domain, GM_GIB, GM_MIB);
	reply = stats(&peer, true, 0);
	grant = reply->accounts[0]->histograms[0];
	assert_true(bytes_equal(grant->name, "grant"));
	for (size_t i = 0; i < grant->n_counts; i++)
		total += grant->counts[i];
	assert_int_equal(total, 2);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(every_tenant_is_on_one_page),
		gm_test(other_accounts_are_the_operators),
		gm_test(a_cursor_past_the_end_gives_nothing),
		gm_test(answers_are_counted_by_code_and_rule),
		gm_test(the_hosts_counts_are_the_sum_of_all),
		gm_test(a_job_takes_from_its_request_to_its_answer),
		gm_test(a_grant_is_measured_and_a_refused_one_is_not),
	};

	return gm_test_run("stats", tests, GM_ARRAY_SIZE(tests));
}
