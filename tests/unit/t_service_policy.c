/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POLICY: who may see which policy, and who may have files read.
 */
#include <errno.h>
#include <string.h>

#include "call.h"
#include "service_rig.h"

static struct rig rig;
static struct peer peer;
static struct peer admin;
static const struct gm_tenant *asked_for;
static bool was_checked;
static int check_result;

static int give_rows(void *arg, const struct gm_tenant *tenant, gm_policy_row_fn fn, void *fn_arg)
{
	const struct gm_policy_row rows[] = { { "MemoryMax", "64G", "/etc/a.conf:3" },
					      { "Kinds", "", "" } };
	int r = 0;

	assert_ptr_equal(arg, &rig);
	asked_for = tenant;
	for (size_t i = 0; i < GM_ARRAY_SIZE(rows) && r == 0; i++)
		r = fn(fn_arg, &rows[i]);
	return r;
}

static int give_check(void *arg, const struct gm_tenant *tenant, char ret_said[GM_POLICY_SAID_MAX])
{
	assert_ptr_equal(arg, &rig);
	asked_for = tenant;
	was_checked = true;
	if (check_result)
		snprintf(ret_said, GM_POLICY_SAID_MAX, "/etc/a.conf:3: MemoryMax: no");
	return check_result;
}

static const struct gm_policies_ops ops = { .rows = give_rows, .check = give_check };

static void start(void)
{
	rig_start(&rig);
	rig.service->env.policies = &ops;
	rig.service->env.policies_arg = &rig;
	asked_for = NULL;
	was_checked = false;
	check_result = 0;
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&admin, &rig, NULL);
}

static void stop(void)
{
	peer_close(&admin);
	peer_close(&peer);
	rig_stop(&rig);
}

static struct answer ask(struct peer *who, const char *tenant, bool check)
{
	Gmem__PolicyRequest request = GMEM__POLICY_REQUEST__INIT;

	if (tenant) {
		request.has_tenant = 1;
		request.tenant = bytes_of(tenant);
	}
	request.has_check = check;
	request.check = check;
	return peer_ask(who, GM_MSG_POLICY, &request.base);
}

static void a_tenant_sees_its_own_policy_and_its_sources(void **state)
{
	struct answer answer;
	const Gmem__PolicyReply *reply;

	(void)state;
	start();
	answer = ask(&peer, NULL, false);
	reply = expect_reply(&answer);
	assert_ptr_equal(asked_for, rig.acme);
	assert_int_equal(reply->n_rows, 2);
	assert_true(bytes_equal(reply->rows[0]->key, "MemoryMax"));
	assert_true(bytes_equal(reply->rows[0]->value, "64G"));
	assert_true(bytes_equal(reply->rows[0]->source, "/etc/a.conf:3"));
	assert_int_equal(reply->rows[1]->source.len, 0);
	assert_false(reply->has_good);
	stop();
}

static void a_tenant_names_no_tenant_and_has_no_files_read(void **state)
{
	struct answer answer;

	(void)state;
	start();
	answer = ask(&peer, "beta", false);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	answer = ask(&peer, "acme", false);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	answer = ask(&peer, NULL, true);
	expect_refusal(&answer, GM_DENIED, GM_RULE_PERMISSION);
	assert_false(was_checked);
	stop();
}

static void the_operator_sees_any_tenants_policy_and_the_hosts(void **state)
{
	struct answer answer;

	(void)state;
	start();
	answer = ask(&admin, "acme", false);
	expect_reply(&answer);
	assert_ptr_equal(asked_for, rig.acme);
	answer = ask(&admin, NULL, false);
	expect_reply(&answer);
	assert_null(asked_for);
	answer = ask(&admin, "nobody", false);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = ask(&admin, "a b", false);
	expect_refusal(&answer, GM_INVALID, GM_RULE_NAME);
	stop();
}

static void a_check_says_whether_a_reload_would_succeed_and_why_not(void **state)
{
	struct answer answer;
	const Gmem__PolicyReply *reply;

	(void)state;
	start();
	answer = ask(&admin, NULL, true);
	reply = expect_reply(&answer);
	assert_true(was_checked && reply->good);
	assert_int_equal(reply->n_rows, 0);
	check_result = -EINVAL;
	answer = ask(&admin, "acme", true);
	reply = expect_reply(&answer);
	assert_ptr_equal(asked_for, rig.acme);
	assert_true(reply->has_good && !reply->good);
	assert_true(bytes_equal(reply->fault, "/etc/a.conf:3: MemoryMax: no"));
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_tenant_sees_its_own_policy_and_its_sources),
		gm_test(a_tenant_names_no_tenant_and_has_no_files_read),
		gm_test(the_operator_sees_any_tenants_policy_and_the_hosts),
		gm_test(a_check_says_whether_a_reload_would_succeed_and_why_not),
	};

	return gm_test_run("policy", tests, GM_ARRAY_SIZE(tests));
}
