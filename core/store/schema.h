/*
 * schema.h - the tables of the SQLite back end, as numbered forward migrations. A file carries its
 * number in user_version; a file with a higher one belongs to a newer program and is refused.
 */
#ifndef SLIPWAY_STORE_SCHEMA_H
#define SLIPWAY_STORE_SCHEMA_H

#include "core/base/err.h"
#include "core/lib/sql.h"

/* The newest schema that this program knows. */
int schema_version(void);

/*
 * Brings the file up to schema_version() in one transaction; the caller holds the turnstile.
 * ERR_CONFIG when the file belongs to a newer program or to another one, or when it is empty and
 * may not be filled. What one process migrates another one finds done.
 */
int schema_migrate(struct sql *db, bool may_create, struct err *err);

#endif
