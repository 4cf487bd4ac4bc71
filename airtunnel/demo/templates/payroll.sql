-- Payroll: what nobody in data engineering has to see.
CREATE TABLE salaries (
  id integer PRIMARY KEY,
  employee text NOT NULL,
  role text NOT NULL,
  monthly numeric(10, 2) NOT NULL
);
INSERT INTO salaries
SELECT n,
       (ARRAY['Ada', 'Bruno', 'Clara', 'Dario', 'Elsa', 'Felix'])[1 + n % 6] || ' ' || chr(64 + n) || '.',
       (ARRAY['engineer', 'analyst', 'buyer', 'support'])[1 + n % 4],
       3200 + n * 137 % 2900
FROM generate_series(1, 24) AS n;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO payroll_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO payroll_ro;
ANALYZE;
