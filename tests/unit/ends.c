/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/ends.h"

struct domain dom0, vm;
char text[400000];

void ends_setup(void)
{
	domain_init(&dom0, REPLICA_DOM0, 0xd0);
	domain_init(&vm, REPLICA_VM, 0x5e);
}

void ends_teardown(void)
{
	struct domain *both[] = {&dom0, &vm};

	for (int i = 0; i < 2; i++) {
		ck_assert(namespace_is_consistent(&both[i]->entries));
		ck_assert(changes_is_consistent(&both[i]->replica.changes));
		domain_free(both[i]);
	}
}

void set(struct domain *d, const char *path, const char *value)
{
	ck_assert_int_eq(domain_write(d, path, strlen(path), value, strlen(value)), 0);
}

int drop(struct domain *d, const char *path)
{
	return domain_remove(d, path, strlen(path));
}

const char *get(struct domain *d, const char *path)
{
	static char value[QDB_MAX_DATA + 1];
	struct entry *e = namespace_find(&d->entries, path, strlen(path));

	if (!e)
		return "(absent)";
	memcpy(value, e->value_len ? e->value : "", e->value_len);
	value[e->value_len] = '\0';
	return value;
}

void receive(struct domain *d, const uint8_t *bytes, size_t len)
{
	uint8_t *space;

	while (len > 0) {
		size_t n = replica_space(&d->replica, &space);

		ck_assert_uint_gt(n, 0);
		n = n < len ? n : len;
		memcpy(space, bytes, n);
		replica_received(&d->replica, n);
		while (replica_has_work(&d->replica))
			replica_resume(&d->replica);
		bytes += n;
		len -= n;
	}
	replica_run(&d->replica);
}

/* Moves at most one write's worth from one end to the other. */
bool carry(struct domain *from, struct domain *to)
{
	const uint8_t *bytes;
	size_t len;

	replica_run(&from->replica);
	bytes = replica_output(&from->replica, 4096, &len);
	if (len == 0)
		return false;
	receive(to, bytes, len);
	replica_sent(&from->replica, len);
	return true;
}

void exchange(void)
{
	bool a, b;

	do {
		a = carry(&vm, &dom0);
		b = carry(&dom0, &vm);
	} while (a || b);
	ck_assert_ptr_null(dom0.replica.failure);
	ck_assert_ptr_null(vm.replica.failure);
}

void connect_ends(void)
{
	replica_connected(&dom0.replica);
	replica_connected(&vm.replica);
}

void disconnect_ends(void)
{
	replica_disconnected(&dom0.replica);
	replica_disconnected(&vm.replica);
}

void begin(void)
{
	connect_ends();
	exchange();
}

void assert_equal_ends(void)
{
	struct entry *a = namespace_first(&dom0.entries, "", 0);
	struct entry *b = namespace_first(&vm.entries, "", 0);

	while (a && b) {
		ck_assert_str_eq(a->path, b->path);
		ck_assert_uint_eq(a->value_len, b->value_len);
		if (a->value_len)
			ck_assert_mem_eq(a->value, b->value, a->value_len);
		a = namespace_next(a);
		b = namespace_next(b);
	}
	ck_assert(!a && !b);
	ck_assert_uint_eq(dom0.replica.changes.paths.used, 0);
	ck_assert_uint_eq(vm.replica.changes.paths.used, 0);
}

void say(struct domain *d, enum qdb_msg type, const char *path, const char *data)
{
	uint8_t message[MESSAGE_MAX_SIZE];

	receive(d, message, unit_encode(message, type, path, data));
}

const char *hear(struct domain *d)
{
	const uint8_t *bytes;
	size_t len;

	text[0] = '\0';
	replica_run(&d->replica);
	while ((bytes = replica_output(&d->replica, 4096, &len))) {
		unit_append_messages(text, sizeof(text), bytes, len);
		replica_sent(&d->replica, len);
		replica_run(&d->replica);
	}
	return text;
}

void begin_as_legacy_vm(void)
{
	replica_connected(&dom0.replica);
	say(&dom0, QDB_CMD_MULTIREAD, "", NULL);
	hear(&dom0);
}
