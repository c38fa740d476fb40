/* A PostgreSQL server for one test program: its own cluster in a folder, on a socket in it. */
#ifndef LK_TESTS_SUPPORT_PGSQL_H
#define LK_TESTS_SUPPORT_PGSQL_H

struct lk_pgsql;

/* initdb, start, wait until it answers. Without durability: what is killed is gone. */
struct lk_pgsql *lk_pgsql_start(void);
void lk_pgsql_stop(struct lk_pgsql *p);

/* Make an empty database and give its URL; static storage until the next call. */
const char *lk_pgsql_database(struct lk_pgsql *p);

/* End every connection but this call's own, as a server that goes down would. */
void lk_pgsql_cut(struct lk_pgsql *p);
/* Stop the server at once and start it again on the same data. */
void lk_pgsql_restart(struct lk_pgsql *p);

#endif
