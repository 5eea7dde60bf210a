INSERT INTO notes (body) VALUES ('the first');
