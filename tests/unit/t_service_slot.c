/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware slots: found in the misc controller's files, leased with a domain, given back at its
 * end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "service_rig.h"
#include "slot.h"

static struct rig rig;
static struct peer peer;
static char folder[] = "/tmp/gmemd-slots-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

/* Pools 0 and 1, as the kernel writes them; @in_use: of the latter. */
static void begin(unsigned in_use)
{
	char text[64];

	memset(&peer, 0, sizeof(peer));
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(text, sizeof(text), "%s 9\n%s 2\n", gm_slot_pools[0].resource,
		 gm_slot_pools[1].resource);
	write_file("misc.capacity", text);
	snprintf(text, sizeof(text), "%s 0\n%s %u\n", gm_slot_pools[0].resource,
		 gm_slot_pools[1].resource, in_use);
	write_file("misc.current", text);
	rig_start(&rig);
	rig.exec.cgroup_root = folder;
	peer_connect(&peer, &rig, rig.acme);
}

static void end(void)
{
	peer_close(&peer);
	rig_stop(&rig);
	remove_file("misc.capacity");
	remove_file("misc.current");
	assert_int_equal(rmdir(folder), 0);
}

static struct answer create(const char *slot)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;

	request.has_kind = 1;
	request.kind = bytes_of("fake");
	request.has_slot = 1;
	request.slot = bytes_of(slot);
	return peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
}

static uint64_t used(void)
{
	return rig.acme->account.used[gm_slot_resource(1)];
}

static void a_slot_is_the_domains_to_its_end(void **state)
{
	const char *name = gm_slot_pools[1].name;
	struct answer answer;
	uint64_t domain;

	(void)state;
	begin(0);
	answer = create(name);
	domain = ((const Gmem__DomainCreateReply *)expect_reply(&answer))->domain;
	assert_int_equal(used(), 1);
	answer = ask_domain_get(&peer, domain);
	assert_true(bytes_equal(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->slot,
				name));
	(void)ask_domain_destroy(&peer, domain, NULL);
	assert_int_equal(used(), 0);
	end();
}

static void what_the_host_has_not_left_is_refused_with_its_numbers(void **state)
{
	struct answer answer;

	(void)state;
	begin(2);
	answer = create(gm_slot_pools[1].name);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_SLOTS);
	expect_object(&answer, "host");
	expect_numbers(&answer, 2, 2, 1);
	assert_int_equal(used(), 0);
	assert_int_equal(rig.acme->account.used[GM_RES_DOMAINS], 0);
	end();
}

static void what_the_policy_does_not_allow_is_refused_first(void **state)
{
	struct answer answer;

	(void)state;
	begin(2);
	gm_account_set_limit(&rig.acme->account, gm_slot_resource(1), 0);
	answer = create(gm_slot_pools[1].name);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_SLOTS);
	expect_object(&answer, "tenant acme");
	expect_numbers(&answer, 0, 0, 1);
	end();
}

static void a_resource_that_the_cpu_has_not_got_is_a_pool_of_none(void **state)
{
	struct answer answer;

	(void)state;
	begin(0);
	answer = create(gm_slot_pools[2].name);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_SLOTS);
	expect_numbers(&answer, 0, 0, 1);
	end();
}

static void a_host_without_the_controller_has_none(void **state)
{
	struct answer answer;

	(void)state;
	begin(0);
	remove_file("misc.capacity");
	answer = create(gm_slot_pools[0].name);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_SLOTS);
	end();
}

static void a_pool_of_another_name_is_told_apart(void **state)
{
	struct answer answer;

	(void)state;
	begin(0);
	answer = create("abacus");
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_SLOTS);
	expect_text(&answer, "abacus");
	/* The kernel's name of the resource is not the pool's. */
	answer = create(gm_slot_pools[1].resource);
	expect_refusal(&answer, GM_UNSUPPORTED, GM_RULE_SLOTS);
	end();
}

static void the_host_shows_every_pool(void **state)
{
	Gmem__HostRequest request = GMEM__HOST_REQUEST__INIT;
	const Gmem__HostReply *reply;
	struct answer answer;

	(void)state;
	begin(1);
	answer = peer_ask(&peer, GM_MSG_HOST, &request.base);
	reply = expect_reply(&answer);
	assert_int_equal(reply->n_slots, GM_SLOTS_N);
	assert_true(bytes_equal(reply->slots[1]->name, gm_slot_pools[1].name));
	assert_int_equal(reply->slots[0]->capacity, 9);
	assert_int_equal(reply->slots[1]->capacity, 2);
	assert_int_equal(reply->slots[1]->used, 1);
	assert_int_equal(reply->slots[2]->capacity, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_slot_is_the_domains_to_its_end),
		gm_test(what_the_host_has_not_left_is_refused_with_its_numbers),
		gm_test(what_the_policy_does_not_allow_is_refused_first),
		gm_test(a_resource_that_the_cpu_has_not_got_is_a_pool_of_none),
		gm_test(a_host_without_the_controller_has_none),
		gm_test(a_pool_of_another_name_is_told_apart),
		gm_test(the_host_shows_every_pool),
	};

	return gm_test_run("service_slot", tests, GM_ARRAY_SIZE(tests));
}
