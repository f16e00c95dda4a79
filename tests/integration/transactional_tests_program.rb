# A suite of Rails tests with use_transactional_tests, as an application has them: each runs in one outer transaction that
# is rolled back, and what the application begins within it is a savepoint. Prints "ok NAME" or "failed NAME: why" for each.
# Argument: "on" or "off", for prepared statements.
require "active_record"
require "active_record/fixtures"
require "active_record/test_fixtures"
require "active_support/test_case"
require "minitest"

ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV.fetch("PGHOST"), port: ENV.fetch("PGPORT").to_i, database: ENV.fetch("PGDATABASE"),
  username: ENV.fetch("PGUSER"), prepared_statements: ARGV.fetch(0) == "on", variables: { statement_timeout: "60s" }
)

class Issue < ActiveRecord::Base; end
class CiRunner < ActiveRecord::Base; end

TITLE = "transactional test"

class TransactionalTest < ActiveSupport::TestCase
  include ActiveRecord::TestFixtures
  self.use_transactional_tests = true
  self.test_order = :sorted

  def assert_crosses(&block)
    error = assert_raises(ActiveRecord::StatementInvalid, &block)
    assert_equal "XD002", error.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
  end

  def assert_clean
    assert Issue.where(title: TITLE).none? && CiRunner.where(description: TITLE).none?, "rows of another test"
  end

  test "sets up rows of both databases directly in the block" do
    assert_clean
    ActiveRecord::Base.connection.execute("INSERT INTO issues (title) VALUES ('#{TITLE}')")
    ActiveRecord::Base.connection.execute("INSERT INTO ci_runners (description) VALUES ('#{TITLE}')")
    assert_equal 1, Issue.where(title: TITLE).count
    assert_equal 1, CiRunner.where(description: TITLE).count
  end

  test "creates records of both, each in a transaction of its own" do
    assert_clean
    Issue.create!(title: TITLE)
    CiRunner.create!(description: TITLE)
    assert_equal [1, 1], [Issue.where(title: TITLE).count, CiRunner.where(description: TITLE).count]
  end

  test "finds a transaction of the application that crosses" do
    assert_clean
    Issue.create!(title: TITLE)
    assert_crosses do
      CiRunner.transaction do
        CiRunner.create!(description: TITLE)
        Issue.create!(title: TITLE)
      end
    end
    assert CiRunner.where(description: TITLE).none?
    assert_equal 1, Issue.where(title: TITLE).count
  end

  test "finds one that crosses in a nested transaction" do
    assert_clean
    assert_crosses do
      Issue.transaction do
        Issue.create!(title: TITLE)
        CiRunner.transaction(requires_new: true) { CiRunner.create!(description: TITLE) }
      end
    end
  end

  test "goes on after what the application rolled back" do
    assert_clean
    Issue.transaction { Issue.create!(title: TITLE) && raise(ActiveRecord::Rollback) }
    CiRunner.transaction { CiRunner.create!(description: TITLE) }
    assert_equal [0, 1], [Issue.where(title: TITLE).count, CiRunner.where(description: TITLE).count]
  end
end

class Lines < Minitest::AbstractReporter
  def record(result)
    puts result.failure ? "failed #{result.name}: #{result.failure.message.lines.first(2).join(" ").strip}" : "ok #{result.name}"
    $stdout.flush
  end
end

TransactionalTest.run(Lines.new, {})
