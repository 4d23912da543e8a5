/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WATCH: who is told what, and what becomes of news that a watcher is too slow for.
 */
#include <signal.h>
#include <string.h>

#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer watcher;
static struct peer neighbour;
static struct peer admin;

static void watch(struct peer *who)
{
	const Gmem__WatchRequest request = GMEM__WATCH_REQUEST__INIT;
	struct answer answer = peer_ask(who, GM_MSG_WATCH, &request.base);

	expect_reply(&answer);
}

static void start(void)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&watcher, &rig, rig.acme);
	peer_connect(&neighbour, &rig, rig.beta);
	peer_connect(&admin, &rig, NULL);
}

static void stop(void)
{
	peer_close(&admin);
	peer_close(&neighbour);
	peer_close(&watcher);
	peer_close(&peer);
	rig_stop(&rig);
}

static const Gmem__NewsEvent *take_news(struct peer *who, Gmem__NewsKind kind)
{
	struct answer answer = peer_take(who);
	const Gmem__NewsEvent *news = answer.reply;

	assert_int_equal(answer.frame.type, GM_EVENT_NEWS);
	assert_int_equal(answer.frame.serial, 0);
	assert_int_equal(news->kind, kind);
	return news;
}

static void a_watcher_is_told_of_what_its_tenant_does(void **state)
{
	const Gmem__NewsEvent *news;
	struct answer answer;
	uint64_t domain;
	uint64_t region;

	(void)state;
	start();
	watch(&watcher);
	rig.now_ms += 7;
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_DOMAIN);
	assert_int_equal(news->domain, domain);
	assert_int_equal(news->ms, 7);
	assert_false(news->has_tenant);
	region = make_region(&peer, domain, 0, GM_MIB);
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_GRANT);
	assert_int_equal(news->domain, domain);
	assert_int_equal(news->region, region);
	assert_int_equal(news->bytes, GM_MIB);
	assert_true(news->has_pid);
	answer = ask_region_get(&peer, region + 1, false);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_REFUSAL);
	assert_int_equal(news->code, GMEM__CODE__CODE_NO_SUCH_OBJECT);
	assert_true(bytes_equal(news->verb, "REGION_GET"));
	answer = ask_region_destroy(&peer, region);
	take_news(&watcher, GMEM__NEWS_KIND__NEWS_END);
	peer_close(&peer);
	take_news(&watcher, GMEM__NEWS_KIND__NEWS_END);
	assert_int_equal(watcher.n_packets, 0);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void a_tenant_is_told_nothing_of_another(void **state)
{
	(void)state;
	start();
	watch(&watcher);
	watch(&admin);
	make_domain(&neighbour, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	assert_int_equal(watcher.n_packets, 0);
	assert_true(bytes_equal(take_news(&admin, GMEM__NEWS_KIND__NEWS_DOMAIN)->tenant, "beta"));
	stop();
}

static void who_the_operator_is_is_nothing_to_a_tenant(void **state)
{
	Gmem__EvictRequest request = GMEM__EVICT_REQUEST__INIT;
	const Gmem__NewsEvent *news;
	struct answer answer;

	(void)state;
	start();
	request.has_domain = 1;
	request.domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	watch(&watcher);
	answer = peer_ask(&admin, GM_MSG_EVICT, &request.base);
	expect_reply(&answer);
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_EVICT);
	assert_int_equal(news->domain, request.domain);
	assert_false(news->has_pid || news->has_uid || news->has_client);
	assert_true(rig_news.by_operator && rig_news.tenant == rig.acme);
	stop();
}

static void a_watcher_that_does_not_read_is_told_how_much_it_has_missed(void **state)
{
	const Gmem__NewsEvent *news;

	(void)state;
	start();
	watch(&watcher);
	watcher.is_full = true;
	for (unsigned i = 0; i < 3; i++)
		make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	assert_int_equal(watcher.n_packets, 0);
	watcher.is_full = false;
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_DOMAIN);
	assert_int_equal(news->lost, 3);
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	assert_false(take_news(&watcher, GMEM__NEWS_KIND__NEWS_DOMAIN)->has_lost);
	stop();
}

static void a_second_watch_changes_nothing(void **state)
{
	(void)state;
	start();
	watch(&watcher);
	watch(&watcher);
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	take_news(&watcher, GMEM__NEWS_KIND__NEWS_DOMAIN);
	assert_int_equal(watcher.n_packets, 0);
	stop();
}

static void only_so_many_of_a_tenant_watch_and_a_place_comes_back(void **state)
{
	const Gmem__WatchRequest request = GMEM__WATCH_REQUEST__INIT;
	static struct peer watchers[5];
	struct answer answer;

	(void)state;
	start();
	rig.acme->account.limits[GM_RES_SESSIONS] = 100;
	for (unsigned i = 0; i < 5; i++)
		peer_connect(&watchers[i], &rig, rig.acme);
	for (unsigned i = 0; i < 4; i++)
		watch(&watchers[i]);
	answer = peer_ask(&watchers[4], GM_MSG_WATCH, &request.base);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_WATCHERS);
	expect_numbers(&answer, 4, 4, 1);
	watch(&neighbour);
	watch(&admin);
	peer_close(&watchers[0]);
	watch(&watchers[4]);
	for (unsigned i = 1; i < 5; i++)
		peer_close(&watchers[i]);
	stop();
}

static void a_job_is_news_when_it_is_done_and_when_its_worker_dies(void **state)
{
	const Gmem__NewsEvent *news;
	uint64_t domain;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL).id;
	region = make_region(&peer, domain, 0, GM_MIB);
	watch(&watcher);
	start_allocate(&peer, region, 0, GM_MIB);
	fake_crew_finish(fake_crew_first(rig.hub));
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_JOB);
	assert_int_equal(news->region, region);
	assert_int_equal(news->bytes, GM_MIB);
	start_allocate(&peer, region, 0, GM_MIB);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_WORKER_LOST, SIGKILL);
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_WORKER);
	assert_int_equal(news->rule, GMEM__RULE__RULE_MEMORY_CGROUP);
	take_news(&watcher, GMEM__NEWS_KIND__NEWS_REFUSAL);
	stop();
}

static void a_violation_is_news_of_the_client_that_broke_the_protocol(void **state)
{
	const Gmem__NewsEvent *news;

	(void)state;
	start();
	watch(&watcher);
	gm_service_violation(peer.link, "a body that is not there");
	news = take_news(&watcher, GMEM__NEWS_KIND__NEWS_VIOLATION);
	assert_true(bytes_equal(news->text, "a body that is not there"));
	assert_int_equal(news->pid, gm_link_session(peer.link)->peer.pid);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_watcher_is_told_of_what_its_tenant_does),
		gm_test(a_tenant_is_told_nothing_of_another),
		gm_test(who_the_operator_is_is_nothing_to_a_tenant),
		gm_test(a_watcher_that_does_not_read_is_told_how_much_it_has_missed),
		gm_test(a_second_watch_changes_nothing),
		gm_test(only_so_many_of_a_tenant_watch_and_a_place_comes_back),
		gm_test(a_job_is_news_when_it_is_done_and_when_its_worker_dies),
		gm_test(a_violation_is_news_of_the_client_that_broke_the_protocol),
	};

	return gm_test_run("watch", tests, GM_ARRAY_SIZE(tests));
}
