// What a Java program does with ClickHouse, by the official JDBC driver. Prints one line for each check; exits 1 at the first fault.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDateTime;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;

public class Check {
    interface Run { void on(Connection connection) throws Exception; }

    static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) throw new AssertionError("found " + found + ", wanted " + wanted);
    }

    static void types(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT 4294967295::UInt32 AS a, 'naïve ☃' AS b, 'low'::LowCardinality(String) AS c,"
                 + " NULL::Nullable(String) AS d, ['a', 'b'] AS e, toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC') AS f,"
                 + " 1.5::Float64 AS g, CAST('ERROR' AS Enum8('ERROR' = 5)) AS h, toUUID('00000000-0000-0000-0000-000000000007') AS i")) {
            same(rows.next(), true);
            same(rows.getLong("a"), 4294967295L);
            same(rows.getString("b"), "naïve ☃");
            same(rows.getString(3), "low");
            same(rows.getString(4), null);
            same(Arrays.toString((Object[]) rows.getArray(5).getArray()), "[a, b]");
            same(rows.getObject(6, LocalDateTime.class), LocalDateTime.parse("2026-01-02T03:04:05.678901"));
            same(rows.getDouble(7), 1.5);
            same(rows.getString(8), "ERROR");
            same(rows.getObject(9).toString(), "00000000-0000-0000-0000-000000000007");
            same(rows.getMetaData().getColumnName(2), "b");
            same(rows.next(), false);
        }
    }

    static void manyRows(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT number, toString(number) FROM numbers(300000)")) {
            long count = 0;
            while (rows.next()) {
                same(rows.getLong(1), count);
                same(rows.getString(2), Long.toString(count));
                count++;
            }
            same(count, 300000L);
        }
    }

    static void noRows(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT number AS n FROM numbers(3) WHERE number > 9")) {
            same(rows.next(), false);
            same(rows.getMetaData().getColumnName(1), "n");
        }
    }

    static void inserts(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE OR REPLACE TABLE java_rows (id UInt64, s String, n Nullable(Int32)) ENGINE = MergeTree ORDER BY id");
        }
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO java_rows (id, s, n) VALUES (?, ?, ?)")) {
            for (int id = 0; id < 2000; id++) {
                insert.setLong(1, id);
                insert.setString(2, "it's \\ row ☃ " + id);
                insert.setObject(3, id % 2 == 0 ? null : id);
                insert.addBatch();
            }
            same(insert.executeBatch().length, 2000);
        }
        try (PreparedStatement query = connection.prepareStatement(
                "SELECT count(), uniqExact(id), countIf(n IS NULL), any(s) FROM java_rows WHERE id >= ? AND s LIKE ?")) {
            query.setLong(1, 1000);
            query.setString(2, "it's%");
            try (ResultSet rows = query.executeQuery()) {
                same(rows.next(), true);
                same(rows.getLong(1), 1000L);
                same(rows.getLong(2), 1000L);
                same(rows.getLong(3), 500L);
            }
        }
    }

    static void metadata(Connection connection) throws Exception {
        try (ResultSet tables = connection.getMetaData().getTables(null, "steptrail", "java_rows", null)) {
            same(tables.next(), true);
            same(tables.getString("TABLE_NAME"), "java_rows");
        }
        try (ResultSet columns = connection.getMetaData().getColumns(null, "steptrail", "java_rows", "%")) {
            int count = 0;
            while (columns.next()) count++;
            same(count, 3);
        }
        same(connection.isValid(5), true);
    }

    static void faults(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT * FROM nothere");
            throw new AssertionError("a table that is not there");
        } catch (SQLException error) {
            same(error.getErrorCode(), 60);
            if (!error.getMessage().contains("nothere")) throw error;
        }
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT number, throwIf(number = 2000000, 'midway') FROM numbers(4000000)")) {
            long count = 0;
            while (rows.next()) count++;
            throw new AssertionError("a fault amid the rows went by, after " + count + " rows");
        } catch (SQLException error) {
            // The driver says it in its own words.
        }
    }

    static void reader(String url) throws Exception {
        Properties login = new Properties();
        login.put("user", "reader");
        login.put("password", System.getenv("READER_PASSWORD"));
        try (Connection connection = DriverManager.getConnection(url, login)) {
            try (PreparedStatement query = connection.prepareStatement("SELECT count() FROM java_rows WHERE id < ?")) {
                query.setLong(1, 10);
                try (ResultSet rows = query.executeQuery()) {
                    same(rows.next(), true);
                    same(rows.getLong(1), 10L);
                }
            }
            try (ResultSet columns = connection.getMetaData().getColumns(null, "steptrail", "java_rows", "%")) {
                same(columns.next(), true);
            }
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE java_rows");
                throw new AssertionError("a reader dropped a table");
            } catch (SQLException error) {
                same(error.getErrorCode(), 164);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Run> checks = new LinkedHashMap<>();
        checks.put("types", Check::types);
        checks.put("many rows", Check::manyRows);
        checks.put("no rows", Check::noRows);
        checks.put("inserts", Check::inserts);
        checks.put("metadata", Check::metadata);
        checks.put("faults", Check::faults);
        for (String options : new String[] {"", "?compress=false", "?decompress=true"}) {
            Properties login = new Properties();
            login.put("user", "default");
            login.put("password", System.getenv("ENGINE_PASSWORD"));
            String url = "jdbc:clickhouse://" + System.getenv("ENGINE_ADDRESS") + "/steptrail" + options;
            try (Connection connection = DriverManager.getConnection(url, login)) {
                for (Map.Entry<String, Run> check : checks.entrySet()) {
                    try {
                        check.getValue().on(connection);
                    } catch (Throwable fault) {
                        System.err.println(check.getKey() + " with '" + options + "':");
                        fault.printStackTrace();
                        System.exit(1);
                    }
                    System.out.println(check.getKey() + " " + options);
                }
            }
        }
        reader("jdbc:clickhouse://" + System.getenv("ENGINE_ADDRESS") + "/steptrail");
        System.out.println("reader");
        System.exit(0);
    }
}
