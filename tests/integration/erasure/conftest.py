from tests.integration.photos import connection, database, embedded, photos, published

__all__ = ["connection", "database", "embedded", "photos", "published"]
