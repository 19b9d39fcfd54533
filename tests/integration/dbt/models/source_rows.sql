SELECT number AS id, concat('it''s ', toString(number % 3)) AS step FROM numbers(1000)
