-- The sample application's first rows, literal as in the core's seed.
INSERT INTO settings (key, value, value_type, description) VALUES
  ('commissions.default_rate', '0.1', 'number', 'Share of the fee, 0 to 1 (10%)'),
  ('documents.max_megabytes', '25', 'number', 'Largest upload');
