-- million.sql - a million inserts and an index, then queries whose answers tell whether all of it is right.
PRAGMA journal_mode = MEMORY;
PRAGMA cache_size = -32000;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
INSERT INTO item SELECT i, printf('name %d', (i * 7919) % 1000003), (i * 104729) % 9973, substr('abcdefghijklmnopqrstuvwxyz', i % 20, i % 13) FROM n;
COMMIT;
CREATE INDEX item_by_name ON item (name, amount);
SELECT count(*), sum(amount), min(name), max(name) FROM item;
SELECT name, amount, note FROM item WHERE name BETWEEN 'name 5000' AND 'name 50001' ORDER BY name LIMIT 20;
SELECT amount % 10 AS digit, count(*), group_concat(DISTINCT substr(note, 1, 1)) FROM item GROUP BY digit ORDER BY digit;
DELETE FROM item WHERE id % 3 = 0;
UPDATE item SET note = note || name WHERE id % 5 = 0;
SELECT count(*), sum(length(note)), total(amount) FROM item;
PRAGMA integrity_check;
