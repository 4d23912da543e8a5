/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "gmemctl.h"

static json_object *counts_tree(const struct gmem_count *counts, uint32_t n)
{
	json_object *tree = json_object_new_object();

	for (uint32_t i = 0; i < n; i++)
		json_object_object_add(tree, counts[i].name,
				       json_object_new_uint64(counts[i].count));
	return tree;
}

static json_object *histogram_tree(const struct gmem_histogram *histogram)
{
	json_object *tree = json_object_new_object();
	json_object *buckets = json_object_new_array();

	for (uint32_t i = 0; i < histogram->n_buckets; i++) {
		json_object *bucket = json_object_new_object();

		json_object_object_add(bucket, "le_us", ctl_json_limit(histogram->bounds_us[i]));
		json_object_object_add(bucket, "count",
				       json_object_new_uint64(histogram->counts[i]));
		json_object_array_add(buckets, bucket);
	}
	json_object_object_add(tree, "buckets", buckets);
	json_object_object_add(tree, "sum_us", json_object_new_uint64(histogram->sum_us));
	return tree;
}

static json_object *resources_tree(const struct gmem_account_info *account)
{
	json_object *tree = json_object_new_object();

	for (uint32_t i = 0; i < account->n_usage; i++) {
		const struct gmem_usage *from = &account->usage[i];
		json_object *usage = json_object_new_object();

		json_object_object_add(usage, "used", json_object_new_uint64(from->used));
		json_object_object_add(usage, "limit", ctl_json_limit(from->limit));
		json_object_object_add(tree, from->resource, usage);
	}
	return tree;
}

static json_object *account_tree(const struct gmem_metrics *metrics)
{
	const struct gmem_account_info *account = &metrics->account;
	json_object *tree = json_object_new_object();
	json_object *histograms = json_object_new_object();

	json_object_object_add(tree, "account", json_object_new_string(account->name));
	json_object_object_add(tree, "resources", resources_tree(account));
	json_object_object_add(tree, "allocated_bytes",
			       json_object_new_uint64(account->allocated_bytes));
	json_object_object_add(tree, "requests", json_object_new_uint64(account->requests));
	json_object_object_add(tree, "violations", json_object_new_uint64(account->violations));
	json_object_object_add(tree, "answers", counts_tree(metrics->codes, metrics->n_codes));
	json_object_object_add(tree, "refusals", counts_tree(metrics->rules, metrics->n_rules));
	json_object_object_add(tree, "events", counts_tree(metrics->news, metrics->n_news));
	for (uint32_t i = 0; i < metrics->n_histograms; i++)
		json_object_object_add(histograms, metrics->histograms[i].name,
				       histogram_tree(&metrics->histograms[i]));
	json_object_object_add(tree, "histograms", histograms);
	return tree;
}

static int add_account(void *arg, const struct gmem_metrics *metrics)
{
	return json_object_array_add(arg, account_tree(metrics));
}

bool metrics_in_bytes(const char *resource)
{
	return strcmp(resource, "memory") == 0 || strcmp(resource, "memlock") == 0 ||
	       strncmp(resource, "hugepages-", 10) == 0;
}

json_object *metrics_tree(struct ctl *ctl, const char *tenant)
{
	json_object *tree = json_object_new_object();
	json_object *accounts = json_object_new_array();
	bool admin = gmem_client_is_admin(ctl->client);
	struct gmem_daemon_info daemon;

	json_object_object_add(tree, "accounts", accounts);
	if (gmem_get_daemon(ctl->client, &daemon) < 0 ||
	    gmem_list_metrics(ctl->client, tenant, add_account, accounts) < 0) {
		json_object_put(tree);
		return NULL;
	}
	json_object_object_add(tree, "uptime_ms", json_object_new_uint64(daemon.uptime_ms));
	if (admin) {
		json_object_object_add(tree, "rss_bytes", json_object_new_uint64(daemon.rss_bytes));
		json_object_object_add(tree, "workers", json_object_new_int64(daemon.workers));
	}
	/* The host comes first, where it comes at all; a tenant may have the same name. */
	json_object_object_add(tree, "first_is_host", json_object_new_boolean(admin && !tenant));
	return tree;
}
