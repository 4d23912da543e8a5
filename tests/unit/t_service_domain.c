/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains: made, looked at, given up, taken over, come back to, ended.
 */
#include <string.h>
#include <sys/stat.h>

#include "call.h"
#include "gm_fd.h"
#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer other;

static void start(void)
{
	rig_start(&rig);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
}

static void stop(void)
{
	peer_close(&other);
	peer_close(&peer);
	rig_stop(&rig);
}

static Gmem__DomainCreateRequest wanted(void)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;

	request.has_kind = 1;
	request.kind = bytes_of("fake");
	return request;
}

static struct answer create(const Gmem__DomainCreateRequest *request)
{
	return peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request->base);
}

static void expect_refused(const Gmem__DomainCreateRequest *request, enum gm_verdict verdict,
			   enum gm_rule rule)
{
	struct answer answer = create(request);

	expect_refusal(&answer, verdict, rule);
	assert_int_equal(rig.book.n_domains, 0);
}

static void a_domain_has_an_id_and_a_token_of_its_own(void **state)
{
	struct made_domain a;
	struct made_domain b;

	(void)state;
	start();
	a = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	b = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	assert_int_not_equal(a.id, 0);
	assert_int_not_equal(a.id, b.id);
	assert_memory_not_equal(a.token, b.token, GM_TOKEN_SIZE);
	stop();
}

static void expect_forgotten(const uint8_t *token)
{
	const struct gm_service *service = rig.service;

	assert_null(memmem(service->body, sizeof(service->body), token, GM_TOKEN_SIZE));
	assert_null(memmem(service->arena.memory, service->arena.size, token, GM_TOKEN_SIZE));
}

static void a_token_stays_in_the_books_only(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	expect_forgotten(domain.token);
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	expect_forgotten(domain.token);
	answer = ask_domain_destroy(&other, domain.id, domain.token);
	expect_reply(&answer);
	expect_forgotten(domain.token);
	stop();
}

static void get_describes_a_domain_to_any_session_of_the_tenant(void **state)
{
	const Gmem__DomainInfo *info;
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	make_region(&peer, domain.id, 0, 4 * GM_MIB);
	rig.now_ms += 250;
	answer = ask_domain_get(&other, domain.id);
	info = ((const Gmem__DomainGetReply *)expect_reply(&answer))->info;
	assert_int_equal(info->domain, domain.id);
	assert_true(bytes_equal(info->name, "vm1"));
	assert_true(bytes_equal(info->kind, "fake"));
	assert_int_equal(info->lifetime, GMEM__LIFETIME__LIFETIME_BOUND);
	assert_true(info->attached);
	assert_int_equal(info->owner_pid, 4711);
	assert_int_equal(info->owner_uid, 65534);
	assert_int_equal(info->regions, 1);
	assert_int_equal(info->reserved_bytes, 4 * GM_MIB);
	assert_int_equal(info->allocated_bytes, 0);
	assert_int_equal(info->age_ms, 250);
	assert_false(info->has_orphan_ttl_ms);
	assert_false(info->has_tenant);
	stop();
}

static bool is_attached_to(struct peer *session, uint64_t domain)
{
	struct answer answer = ask_domain_get(session, domain);

	return ((const Gmem__DomainGetReply *)expect_reply(&answer))->attached_here;
}

static void get_tells_whose_session_has_the_domain(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	assert_true(is_attached_to(&peer, domain.id));
	assert_false(is_attached_to(&other, domain.id));
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_DOMAIN_GONE);
	assert_false(is_attached_to(&peer, domain.id));
	assert_true(is_attached_to(&other, domain.id));
	stop();
}

/* ---- refusals of DOMAIN_CREATE ---- */

static void an_ill_formed_name_is_refused(void **state)
{
	Gmem__DomainCreateRequest request = wanted();

	(void)state;
	start();
	request.has_name = 1;
	request.name = bytes_of("a/b");
	expect_refused(&request, GM_INVALID, GM_RULE_NAME);
	request.name = bytes_of("");
	expect_refused(&request, GM_INVALID, GM_RULE_NAME);
	stop();
}

static void a_name_is_the_tenants_once(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	struct answer answer;

	(void)state;
	start();
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	request.has_name = 1;
	request.name = bytes_of("vm1");
	answer = create(&request);
	expect_refusal(&answer, GM_EXISTS, GM_RULE_NAME_TAKEN);
	stop();
}

static void an_unknown_kind_is_refused_by_name(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	struct answer answer;

	(void)state;
	start();
	request.kind = bytes_of("magic");
	answer = create(&request);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_KIND);
	expect_text(&answer, "\"magic\"");
	request.has_kind = 0;
	expect_refused(&request, GM_UNSUPPORTED, GM_RULE_KIND);
	stop();
}

static void a_kind_that_the_policy_has_not_got_is_denied(void **state)
{
	Gmem__DomainCreateRequest request = wanted();

	(void)state;
	start();
	rig.acme->policy.all_kinds = false;
	rig.acme->policy.n_kinds = 1;
	strcpy(rig.acme->policy.kinds[0], "memfd");
	expect_refused(&request, GM_DENIED, GM_RULE_KINDS);
	stop();
}

static struct gm_exec_backend *fake_slot(void)
{
	for (uint32_t i = 0; i < rig.exec.n_backends; i++) {
		if (strcmp(rig.exec.backends[i].backend->kind, "fake") == 0)
			return &rig.exec.backends[i];
	}
	fail();
	return NULL;
}

static void a_kind_that_this_host_cannot_do_is_refused_with_the_probes_reason(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	struct gm_exec_backend *slot;
	struct answer answer;

	(void)state;
	start();
	slot = fake_slot();
	slot->probe.usable = false;
	strcpy(slot->probe.reason, "the moon is not full");
	answer = create(&request);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_PROBE);
	expect_object(&answer, "host");
	expect_text(&answer, "the moon is not full");
	stop();
}

static void who_may_not_have_a_kind_is_not_told_whether_it_would_work(void **state)
{
	Gmem__DomainCreateRequest request = wanted();

	(void)state;
	start();
	fake_slot()->probe.usable = false;
	rig.acme->policy.all_kinds = false;
	rig.acme->policy.n_kinds = 0;
	expect_refused(&request, GM_DENIED, GM_RULE_KINDS);
	stop();
}

static void unknown_enum_values_are_refused_and_no_violation(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	Gmem__Device device = (Gmem__Device)9;

	(void)state;
	start();
	request.has_lifetime = 1;
	request.lifetime = (Gmem__Lifetime)7;
	expect_refused(&request, GM_INVALID, GM_RULE_FLAGS);
	request.has_lifetime = 0;
	request.lifetime = GMEM__LIFETIME__LIFETIME_BOUND;
	request.n_devices = 1;
	request.devices = &device;
	expect_refused(&request, GM_INVALID, GM_RULE_FLAGS);
	device = GMEM__DEVICE__DEVICE_NONE;
	expect_refused(&request, GM_INVALID, GM_RULE_FLAGS);
	stop();
}

static void a_persistent_domain_needs_the_policys_leave(void **state)
{
	Gmem__DomainCreateRequest request = wanted();

	(void)state;
	start();
	rig.acme->policy.persistent = false;
	request.has_lifetime = 1;
	request.lifetime = GMEM__LIFETIME__LIFETIME_PERSISTENT;
	expect_refused(&request, GM_DENIED, GM_RULE_PERSISTENT);
	stop();
}

static void a_domain_over_domains_max_is_refused_with_the_numbers(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	struct answer answer;

	(void)state;
	start();
	gm_account_set_limit(&rig.acme->account, GM_RES_DOMAINS, 1);
	make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = create(&request);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_DOMAINS_MAX);
	expect_object(&answer, "tenant acme");
	expect_numbers(&answer, 1, 1, 1);
	expect_text(&answer, "DomainsMax of tenant acme: limit 1, used 1, asked 1");
	stop();
}

/* ---- devices ---- */

/* Any open file will do for the device. */
static void have_kvm(void)
{
	gm_fd_close(rig.exec.kvm_fd);
	rig.exec.kvm_fd = gm_fd_dup(0);
	assert_true(rig.exec.kvm_fd >= 0);
}

static void a_device_comes_with_the_domain_under_its_name(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	Gmem__Device device = GMEM__DEVICE__DEVICE_KVM;
	const Gmem__DomainCreateReply *reply;
	struct answer answer;

	(void)state;
	start();
	have_kvm();
	request.n_devices = 1;
	request.devices = &device;
	answer = create(&request);
	reply = expect_reply(&answer);
	assert_int_equal(answer.frame.n_fds, 1);
	assert_int_equal(reply->n_fd_names, 1);
	assert_true(bytes_equal(reply->fd_names[0], "kvm"));
	answer_close(&answer);
	stop();
}

static void a_device_that_is_not_there_is_refused_with_the_reason(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	Gmem__Device device = GMEM__DEVICE__DEVICE_KVM;
	struct answer answer;

	(void)state;
	start();
	gm_fd_close(rig.exec.kvm_fd);
	rig.exec.kvm_fd = -1;
	strcpy(rig.exec.kvm_reason, "no /dev/kvm in this box");
	request.n_devices = 1;
	request.devices = &device;
	answer = create(&request);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_DEVICE);
	expect_text(&answer, "no /dev/kvm in this box");
	stop();
}

static void a_device_asked_for_twice_is_refused(void **state)
{
	Gmem__DomainCreateRequest request = wanted();
	Gmem__Device devices[] = { GMEM__DEVICE__DEVICE_KVM, GMEM__DEVICE__DEVICE_KVM };

	(void)state;
	start();
	have_kvm();
	request.n_devices = 2;
	request.devices = devices;
	expect_refused(&request, GM_INVALID, GM_RULE_FLAGS);
	stop();
}

/* ---- attaching ---- */

static void an_orphaned_domain_comes_back_with_its_token_and_regions(void **state)
{
	const Gmem__DomainAttachReply *reply;
	struct made_domain domain;
	uint64_t high;
	uint64_t low;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	high = make_region(&peer, domain.id, GM_GIB, GM_MIB);
	low = make_region(&peer, domain.id, 0, GM_MIB);
	peer_close(&peer);
	peer_connect(&peer, &rig, rig.acme);
	answer = ask_attach(&peer, domain.id, domain.token, false);
	reply = expect_reply(&answer);
	assert_true(reply->info->attached);
	assert_int_equal(reply->n_regions, 2);
	assert_int_equal(reply->regions[0], low);
	assert_int_equal(reply->regions[1], high);
	answer = ask_region_get(&peer, low, true);
	expect_reply(&answer);
	answer_close(&answer);
	stop();
}

static void a_live_domain_is_not_attached_without_take_over(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = ask_attach(&other, domain.id, domain.token, false);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	assert_int_equal(peer.n_packets, 0);
	stop();
}

static void take_over_moves_a_live_domain_and_tells_the_loser(void **state)
{
	const Gmem__DomainGoneEvent *gone;
	struct made_domain domain;
	uint64_t region;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_DOMAIN_GONE);
	gone = answer.reply;
	assert_int_equal(gone->domain, domain.id);
	assert_int_equal(gone->why, GMEM__FAREWELL__FAREWELL_TAKEN_OVER);
	answer = ask_region_destroy(&peer, region);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	/* It is bound to the winner now: the loser's end does not touch it. */
	peer_close(&peer);
	answer = ask_domain_get(&other, domain.id);
	expect_reply(&answer);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void attaching_what_one_has_is_no_error_and_no_event(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = ask_attach(&peer, domain.id, domain.token, true);
	expect_reply(&answer);
	assert_int_equal(peer.n_packets, 0);
	stop();
}

static void take_over_waits_for_the_losers_jobs(void **state)
{
	struct made_domain domain;
	uint64_t region;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	start_allocate(&peer, region, 0, GM_MIB);
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_refusal(&answer, GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	stop();
}

static void a_token_of_the_wrong_length_is_refused_with_the_numbers(void **state)
{
	Gmem__DomainAttachRequest request = GMEM__DOMAIN_ATTACH_REQUEST__INIT;
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	request.has_domain = 1;
	request.domain = domain.id;
	request.has_token = 1;
	request.token.data = domain.token;
	request.token.len = GM_TOKEN_SIZE - 1;
	answer = peer_ask(&other, GM_MSG_DOMAIN_ATTACH, &request.base);
	expect_refusal(&answer, GM_INVALID, GM_RULE_TOKEN);
	expect_numbers(&answer, 32, 0, 31);
	stop();
}

/* ---- the end ---- */

static void a_bound_domain_ends_with_its_session(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	make_region(&peer, domain.id, 0, GM_MIB);
	peer_close(&peer);
	assert_int_equal(rig.book.n_domains, 0);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	answer = ask_domain_get(&other, domain.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void a_persistent_domain_waits_as_long_as_its_ttl(void **state)
{
	const Gmem__DomainInfo *info;
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	peer_close(&peer);
	rig.now_ms += 59999;
	gm_service_expire(rig.service);
	answer = ask_domain_get(&other, domain.id);
	info = ((const Gmem__DomainGetReply *)expect_reply(&answer))->info;
	assert_false(info->attached);
	assert_int_equal(info->owner_pid, 0);
	assert_int_equal(info->orphan_ttl_ms, 1);
	rig.now_ms += 1;
	gm_service_expire(rig.service);
	answer = ask_domain_get(&other, domain.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	peer_connect(&peer, &rig, rig.acme);
	stop();
}

static void an_attached_domain_never_expires(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	rig.now_ms += 10 * 60000;
	gm_service_expire(rig.service);
	answer = ask_domain_get(&peer, domain.id);
	expect_reply(&answer);
	stop();
}

static void destroy_gives_everything_back(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	make_region(&peer, domain.id, 0, GM_MIB);
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_reply(&answer);
	assert_int_equal(rig.book.n_domains, 0);
	assert_int_equal(rig.book.n_regions, 0);
	assert_int_equal(rig.acme->account.used[GM_RES_MEMORY], 0);
	stop();
}

static void another_session_destroys_with_the_token_only(void **state)
{
	const Gmem__DomainGoneEvent *gone;
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = ask_domain_destroy(&other, domain.id, NULL);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	answer = ask_domain_destroy(&other, domain.id, domain.token);
	expect_reply(&answer);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.type, GM_EVENT_DOMAIN_GONE);
	gone = answer.reply;
	assert_int_equal(gone->why, GMEM__FAREWELL__FAREWELL_TAKEN_OVER);
	stop();
}

static void destroy_is_refused_while_jobs_are_under_way(void **state)
{
	struct made_domain domain;
	struct answer answer;
	uint64_t region;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	region = make_region(&peer, domain.id, 0, GM_MIB);
	start_allocate(&peer, region, 0, GM_MIB);
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_refusal(&answer, GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	answer = ask_region_destroy(&peer, region);
	expect_refusal(&answer, GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_domain_has_an_id_and_a_token_of_its_own),
		gm_test(a_token_stays_in_the_books_only),
		gm_test(get_describes_a_domain_to_any_session_of_the_tenant),
		gm_test(get_tells_whose_session_has_the_domain),
		gm_test(an_ill_formed_name_is_refused),
		gm_test(a_name_is_the_tenants_once),
		gm_test(an_unknown_kind_is_refused_by_name),
		gm_test(a_kind_that_the_policy_has_not_got_is_denied),
		gm_test(a_kind_that_this_host_cannot_do_is_refused_with_the_probes_reason),
		gm_test(who_may_not_have_a_kind_is_not_told_whether_it_would_work),
		gm_test(unknown_enum_values_are_refused_and_no_violation),
		gm_test(a_persistent_domain_needs_the_policys_leave),
		gm_test(a_domain_over_domains_max_is_refused_with_the_numbers),
		gm_test(a_device_comes_with_the_domain_under_its_name),
		gm_test(a_device_that_is_not_there_is_refused_with_the_reason),
		gm_test(a_device_asked_for_twice_is_refused),
		gm_test(an_orphaned_domain_comes_back_with_its_token_and_regions),
		gm_test(a_live_domain_is_not_attached_without_take_over),
		gm_test(take_over_moves_a_live_domain_and_tells_the_loser),
		gm_test(attaching_what_one_has_is_no_error_and_no_event),
		gm_test(take_over_waits_for_the_losers_jobs),
		gm_test(a_token_of_the_wrong_length_is_refused_with_the_numbers),
		gm_test(a_bound_domain_ends_with_its_session),
		gm_test(a_persistent_domain_waits_as_long_as_its_ttl),
		gm_test(an_attached_domain_never_expires),
		gm_test(destroy_gives_everything_back),
		gm_test(another_session_destroys_with_the_token_only),
		gm_test(destroy_is_refused_while_jobs_are_under_way),
	};

	return gm_test_run("service domains", tests, GM_ARRAY_SIZE(tests));
}
