require 'json'

module Reports
  class Report
    attr_reader :rows, :title

    def initialize(title, rows)
      @title = title
      @rows = rows
    end

    def to_h
      {
        title: title,
        rows: rows.map { |row| row.to_h },
      }
    end

    def save(path)
      File.open(path, 'w') do |file|
        file.write(JSON.pretty_generate(to_h))
      end
    end

    def widest
      lengths = rows.map do |row|
        row.name.length
      end
      lengths.max || 0
    end

    def empty?
      return true if rows.nil? ||
        rows.empty?
      rows.all? { |row| row.blank? }
    end
  end
end
