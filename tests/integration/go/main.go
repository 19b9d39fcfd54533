// What a Go program does with ClickHouse over HTTP, by the official client. Prints one JSON line; exits 1 at the first fault.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

var ctx = context.Background()

func options(compression clickhouse.CompressionMethod) *clickhouse.Options {
	found := &clickhouse.Options{
		Protocol: clickhouse.HTTP,
		Addr:     []string{os.Getenv("ENGINE_ADDRESS")},
		Auth:     clickhouse.Auth{Database: "steptrail", Username: "default", Password: os.Getenv("ENGINE_PASSWORD")},
	}
	if compression != clickhouse.CompressionNone {
		found.Compression = &clickhouse.Compression{Method: compression, Level: 3}
	}
	return found
}

func same(found, wanted any) error {
	if !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("found %#v, wanted %#v", found, wanted)
	}
	return nil
}

func ping(conn driver.Conn) error {
	version, err := conn.ServerVersion()
	if err == nil && version.Revision < 54454 {
		err = fmt.Errorf("revision %d", version.Revision)
	}
	return errors.Join(err, conn.Ping(ctx))
}

func types(conn driver.Conn) error {
	var (
		number uint64
		text   string
		low    string
		none   *string
		list   []string
		pairs  map[string]uint8
		at     time.Time
		id     string
		status string
		price  float64
		fixed  string
	)
	row := conn.QueryRow(ctx, `SELECT 18446744073709551615::UInt64, 'naïve ☃', 'low'::LowCardinality(String),
		NULL::Nullable(String), ['a', 'b'], map('k', 1), toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC'),
		toString(toUUID('00000000-0000-0000-0000-000000000007')), CAST('ERROR' AS Enum8('ERROR' = 5)), 1.5::Float64,
		toFixedString('ab', 2)`)
	if err := row.Scan(&number, &text, &low, &none, &list, &pairs, &at, &id, &status, &price, &fixed); err != nil {
		return err
	}
	return errors.Join(
		same(number, uint64(18446744073709551615)), same(text, "naïve ☃"), same(low, "low"), same(none, (*string)(nil)),
		same(list, []string{"a", "b"}), same(pairs, map[string]uint8{"k": 1}),
		same(at, time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)), same(id, "00000000-0000-0000-0000-000000000007"),
		same(status, "ERROR"), same(price, 1.5), same(fixed, "ab"),
	)
}

func parameters(conn driver.Conn) error {
	var number uint32
	var text string
	bound := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"n": "7", "s": "it's ☃"}))
	if err := conn.QueryRow(bound, "SELECT {n:UInt32}, {s:String}").Scan(&number, &text); err != nil {
		return err
	}
	if err := errors.Join(same(number, uint32(7)), same(text, "it's ☃")); err != nil {
		return err
	}
	return conn.QueryRow(ctx, "SELECT toUInt32(?)", 8).Scan(&number)
}

func manyRows(conn driver.Conn) error {
	rows, err := conn.Query(ctx, "SELECT number, toString(number) FROM numbers(300000)")
	if err != nil {
		return err
	}
	defer rows.Close()
	var count, number uint64
	var text string
	for rows.Next() {
		if err := rows.Scan(&number, &text); err != nil {
			return err
		}
		if number != count || text != fmt.Sprint(count) {
			return fmt.Errorf("row %d is %d, %q", count, number, text)
		}
		count++
	}
	return errors.Join(rows.Err(), same(count, uint64(300000)))
}

func noRows(conn driver.Conn) error {
	rows, err := conn.Query(ctx, "SELECT number AS n, [(1, 'x')] AS t FROM numbers(3) WHERE number > 9")
	if err != nil {
		return err
	}
	defer rows.Close()
	if rows.Next() {
		return errors.New("a row")
	}
	return errors.Join(rows.Err(), same(rows.Columns(), []string{"n", "t"}))
}

func reports(conn driver.Conn) error {
	for _, query := range []string{"SHOW DATABASES", "DESCRIBE TABLE system.one", "EXPLAIN SELECT 1", "EXISTS TABLE system.one"} {
		rows, err := conn.Query(ctx, query)
		if err != nil {
			return err
		}
		if !rows.Next() {
			return fmt.Errorf("%s: no row: %w", query, rows.Err())
		}
		rows.Close()
	}
	return nil
}

func batch(conn driver.Conn) error {
	if err := conn.Exec(ctx, "CREATE OR REPLACE TABLE go_rows (id UInt64, s LowCardinality(String), a Array(Nullable(String)), "+
		"at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY id"); err != nil {
		return err
	}
	rows, err := conn.PrepareBatch(ctx, "INSERT INTO go_rows")
	if err != nil {
		return err
	}
	x := "x"
	for id := range 50000 {
		if err := rows.Append(uint64(id), fmt.Sprint(id%7), []*string{&x, nil}, time.Unix(int64(id), 1000)); err != nil {
			return err
		}
	}
	if err := rows.Send(); err != nil {
		return err
	}
	var count, distinct, ones uint64
	query := "SELECT count(), uniqExact(id), countIf(a = ['x', NULL]) FROM go_rows"
	if err := conn.QueryRow(ctx, query).Scan(&count, &distinct, &ones); err != nil {
		return err
	}
	return errors.Join(same(count, uint64(50000)), same(distinct, uint64(50000)), same(ones, uint64(50000)))
}

func externalTable(conn driver.Conn) error {
	table, err := ext.NewTable("wanted", ext.Column("id", "UInt64"))
	if err != nil {
		return err
	}
	for id := range 3 {
		if err := table.Append(uint64(id)); err != nil {
			return err
		}
	}
	var total uint64
	external := clickhouse.Context(ctx, clickhouse.WithExternalTable(table))
	return errors.Join(conn.QueryRow(external, "SELECT sum(id) FROM wanted").Scan(&total), same(total, uint64(3)))
}

func faults(conn driver.Conn) error {
	var exception *clickhouse.Exception
	err := conn.QueryRow(ctx, "SELECT * FROM nothere").Err()
	if !errors.As(err, &exception) || exception.Code != 60 {
		return fmt.Errorf("a table that is not there: %v", err)
	}
	rows, err := conn.Query(ctx, "SELECT number, throwIf(number = 2000000, 'midway') FROM numbers(4000000)")
	for err == nil && rows.Next() {
	}
	if err == nil {
		err = rows.Err()
	}
	if !errors.As(err, &exception) || exception.Code != 395 {
		return fmt.Errorf("a fault amid the rows: %v", err)
	}
	return nil
}

func standardLibrary(compression clickhouse.CompressionMethod) error {
	db := clickhouse.OpenDB(options(compression))
	defer db.Close()
	var number int
	var text sql.NullString
	if err := db.QueryRow("SELECT 5, NULL::Nullable(String)").Scan(&number, &text); err != nil {
		return err
	}
	return errors.Join(same(number, 5), same(text.Valid, false))
}

func reader() error {
	login := options(clickhouse.CompressionLZ4)
	login.Auth.Username, login.Auth.Password = "reader", os.Getenv("READER_PASSWORD")
	conn, err := clickhouse.Open(login)
	if err != nil {
		return err
	}
	var count uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM go_rows WHERE id < ?", 10).Scan(&count); err != nil {
		return err
	}
	var exception *clickhouse.Exception
	err = conn.Exec(ctx, "DROP TABLE go_rows")
	if !errors.As(err, &exception) || exception.Code != 164 {
		return fmt.Errorf("a reader's DROP: %v", err)
	}
	return same(count, uint64(10))
}

func main() {
	checks := map[string]func(driver.Conn) error{
		"ping": ping, "types": types, "parameters": parameters, "many rows": manyRows, "no rows": noRows, "reports": reports,
		"batch": batch, "external table": externalTable, "faults": faults,
	}
	passed := []string{}
	for name, compression := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
		"gzip": clickhouse.CompressionGZIP,
	} {
		conn, err := clickhouse.Open(options(compression))
		for check, run := range checks {
			if err == nil {
				err = run(conn)
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s, compression %s: %v\n", check, name, err)
				os.Exit(1)
			}
			passed = append(passed, check+" "+name)
		}
		if err := standardLibrary(compression); err != nil {
			fmt.Fprintf(os.Stderr, "database/sql, compression %s: %v\n", name, err)
			os.Exit(1)
		}
		passed = append(passed, "database/sql "+name)
	}
	if err := reader(); err != nil {
		fmt.Fprintf(os.Stderr, "reader: %v\n", err)
		os.Exit(1)
	}
	passed = append(passed, "reader")
	json.NewEncoder(os.Stdout).Encode(passed)
}
