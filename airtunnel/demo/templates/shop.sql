-- The shop: 200 customers and 600 orders, the same in every demo.
CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  city text NOT NULL,
  joined date NOT NULL
);
INSERT INTO customers
SELECT n,
       given || ' ' || family,
       lower(given) || '.' || lower(family) || n || '@example.com',
       (ARRAY['Lisbon', 'Utrecht', 'Leipzig', 'Gdansk', 'Turin', 'Graz', 'Malmo', 'Ghent'])[1 + n % 8],
       DATE '2024-01-01' + n * 3
FROM generate_series(1, 200) AS n,
     LATERAL (SELECT (ARRAY['Maria', 'Jonas', 'Priya', 'Emil', 'Chen', 'Fatima', 'Luca', 'Nora', 'Tomasz', 'Ines'])[1 + n % 10] AS given,
                     (ARRAY['Silva', 'Bakker', 'Rao', 'Lindqvist', 'Wei', 'Haddad', 'Ricci'])[1 + n % 7] AS family) AS names;

CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers,
  item text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  amount numeric(10, 2) NOT NULL,
  ordered_at timestamptz NOT NULL
);
INSERT INTO orders
SELECT n,
       1 + n * 37 % 200,
       item,
       1 + n % 4,
       (1 + n % 4) * price,
       TIMESTAMPTZ '2026-01-01 08:00+00' + n * INTERVAL '97 minutes'
FROM generate_series(1, 600) AS n,
     LATERAL (SELECT (ARRAY['desk lamp', 'teapot', 'notebook', 'rucksack', 'headphones'])[1 + n % 5] AS item,
                     (ARRAY[39.90, 24.50, 4.20, 79.00, 129.00])[1 + n % 5] AS price) AS goods;
CREATE INDEX ON orders (customer_id);

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO shop_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop_rw;
ANALYZE;
